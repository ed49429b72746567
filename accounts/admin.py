"""Admin pages of people and workspaces."""

from __future__ import annotations

from typing import Any

from allauth.mfa.admin import AuthenticatorAdmin
from allauth.mfa.models import Authenticator
from allauth.usersessions.admin import UserSessionAdmin
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.forms import ModelForm
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django_tenants.utils import schema_context

from accounts import admin_features  # noqa: F401 - registers the features' page
from accounts.admin_plans import OWN_LIMIT_FIELDS
from accounts.models import Membership, Plan, Role, User, Workspace
from accounts.signals import AccountAction, state_changed


class MembershipFormSet(BaseInlineFormSet[Membership, Workspace, Any]):
    """Members of a workspace, which never is without an owner."""

    def clean(self) -> None:
        """Say what the database would refuse."""
        super().clean()
        kept = [form.cleaned_data for form in self.forms if form.cleaned_data and not form.cleaned_data.get("DELETE")]
        if not any(self.errors) and not any(each.get("role") == Role.OWNER for each in kept):
            raise ValidationError("A workspace needs an owner.")


class MembershipInline(admin.TabularInline[Membership, Workspace]):
    """Members of a workspace."""

    model = Membership
    formset = MembershipFormSet
    extra = 0
    autocomplete_fields = ("user",)


def _told(form: ModelForm[Workspace], name: str, value: Any) -> Any:
    """Return a field's value as the audit trail keeps it: a plan by its name."""
    if name != "plan" or value is None:
        return value
    return str(value) if isinstance(value, Plan) else str(Plan.objects.filter(pk=value).first() or value)


@admin.register(User)
class UserAdmin(DjangoUserAdmin[User]):
    """People. They are switched off, not deleted: what they own would go with them, and a workspace its owner."""

    ordering = ("email",)
    list_display = ("email", "name", "is_staff", "is_active", "last_login")
    search_fields = ("email", "name")
    readonly_fields = ("last_login", "date_joined")
    # Django's two boxes side by side are drawn late and not named for screen readers.
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("email", "password", "name")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "usable_password", "password1", "password2")}),)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False


class Groups(GroupAdmin):
    """Groups of permissions."""

    filter_horizontal = ()


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin[Workspace]):
    """Workspaces are made by `manage.py create_workspace`, which owns the schemas; here their members are kept."""

    list_display = ("name", "slug", "schema_name", "plan", "created_at")
    list_select_related = ("plan",)
    search_fields = ("name", "slug")
    readonly_fields = ("slug", "schema_name", "created_at")
    fieldsets = ((None, {"fields": ("name", "slug", "schema_name", "created_at")}), OWN_LIMIT_FIELDS)
    inlines = (MembershipInline,)

    def save_model(self, request: HttpRequest, obj: Workspace, form: ModelForm[Workspace], change: bool) -> None:
        # A workspace is kept in the shared schema; the member of staff may be inside another one.
        with schema_context("public"):
            super().save_model(request, obj, form, change)
        state_changed.send(
            Workspace,
            action=AccountAction.WORKSPACE_CHANGED,
            subject=obj,
            workspace=obj,
            before={name: _told(form, name, form.initial.get(name)) for name in form.changed_data},
            after={name: _told(form, name, form.cleaned_data[name]) for name in form.changed_data},
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        return False


class NobodyWrites:
    """Rows that only their owner's doing makes and changes: staff look at them, and delete them where somebody asks to."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class SecondFactors(NobodyWrites, AuthenticatorAdmin):  # type: ignore[misc]  # allauth's has no types
    """Who has which second factor. Its secret is nobody else's."""

    exclude = ("data",)


class Sessions(NobodyWrites, UserSessionAdmin):  # type: ignore[misc]  # allauth's has no types
    """Who is signed in where. The key of a session would let staff be somebody else."""

    exclude = ("session_key", "data")
    search_fields = ("user__email", "ip")


# Django and allauth have registered their own by now.
admin.site.unregister([Authenticator, Group, UserSession])
admin.site.register(Group, Groups)
admin.site.register(Authenticator, SecondFactors)
admin.site.register(UserSession, Sessions)

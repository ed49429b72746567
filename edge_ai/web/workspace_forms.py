"""Forms of workspaces. What is allowed, the services decide."""

from __future__ import annotations

from django import forms


class RenameForm(forms.Form):
    """What people call a workspace."""

    name = forms.CharField(max_length=100)


class WorkspaceForm(RenameForm):
    """A new workspace."""

    slug = forms.CharField(
        label="Short name",
        max_length=40,
        help_text="For scripts and addresses, such as edge-team: lower-case letters, digits and dashes. It stays.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )


class DeletionForm(forms.Form):
    """The short name, typed to be sure."""

    slug = forms.CharField(
        label="Short name of the workspace",
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

"""One view: fifty rows of the table of models, the newest first."""

from __future__ import annotations

from django.db import models
from django.urls import path
from rest_framework.generics import ListAPIView
from rest_framework.pagination import CursorPagination
from rest_framework.serializers import ModelSerializer


class Model(models.Model):
    """A few columns of the studio's table."""

    id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=200)
    format = models.CharField(max_length=20)
    status = models.CharField(max_length=10)
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        app_label = "bare_api"
        db_table = "edge_ai_model"
        managed = False

    def __str__(self) -> str:
        return self.name


class Rows(ModelSerializer[Model]):
    """Those columns."""

    class Meta:
        model = Model
        fields = ("id", "name", "format", "status", "size_bytes", "created_at")


class Pages(CursorPagination):
    """As many as the studio's pages have."""

    page_size = 50
    ordering = ("-created_at", "id")


class Models(ListAPIView[Model]):
    """The list."""

    queryset = models.QuerySet(Model)
    serializer_class = Rows
    pagination_class = Pages


urlpatterns = [path("models/", Models.as_view())]

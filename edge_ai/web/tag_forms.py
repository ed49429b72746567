"""The tags of a model: words, as one writes them in one line."""

from __future__ import annotations

from django import forms

MAX_TAGS = 20
MAX_TAG = 40


class TagsForm(forms.Form):
    """Words that a model is found by."""

    tags = forms.CharField(max_length=800, required=False, help_text=f"Words, separated by commas; at most {MAX_TAGS}.")

    def clean_tags(self) -> list[str]:
        """Return the words, each once."""
        tags = [word.strip() for word in str(self.cleaned_data["tags"]).split(",") if word.strip()]
        if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in tags):
            raise forms.ValidationError(
                f"At most {MAX_TAGS} tags of at most {MAX_TAG} letters each.", code="invalid_request"
            )
        return list(dict.fromkeys(tags))

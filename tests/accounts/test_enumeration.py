"""How long an answer takes must not tell who has an account."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import pytest
from allauth.account import forms as theirs
from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.cache import cache
from django.test import Client, override_settings

from accounts import steady
from accounts.models import User
from accounts.sign_in_forms import SignUpForm

ROUNDS = 11
Clock = Callable[[], float]
Ask = Callable[[str], object]


class SomewhatSlow(PBKDF2PasswordHasher):
    """As production hashes, with fewer rounds."""

    iterations = 60_000


@pytest.fixture
def somebody(owner: User) -> Iterator[User]:
    """Somebody whose password is hashed as in production."""
    with override_settings(PASSWORD_HASHERS=[f"{__name__}.SomewhatSlow"]):
        owner.set_password("correct horse battery 7")
        owner.save()
        yield owner


def sign_in(email: str) -> object:
    return Client().post("/accounts/sign-in/", {"login": email, "password": "wrong"})


def reset(email: str) -> object:
    return Client().post("/accounts/reset/", {"email": email})


def sign_up(email: str) -> object:
    form = {"email": email, "password1": "correct horse battery 7"}
    with override_settings(SIGN_UP="open"):
        return Client().post("/accounts/sign-up/", form)


def seconds(ask: Ask, email: str, clock: Clock) -> float:
    """How long an answer takes."""
    cache.clear()
    began = clock()
    ask(email)
    return clock() - began


def differs(ask: Ask, known: str, clock: Clock) -> bool:
    """Ask in turns for the known address and for unknown ones; tell whether the medians differ by more than chance."""
    seconds(ask, known, clock)
    seconds(ask, "warm-up@example.com", clock)
    pairs = [(seconds(ask, known, clock), seconds(ask, f"no-{number}@example.com", clock)) for number in range(ROUNDS)]
    of_known, of_unknown = (sorted(times) for times in zip(*pairs, strict=True))
    quarter = ROUNDS // 4
    noise = max(times[-quarter - 1] - times[quarter] for times in (of_known, of_unknown))
    apart = abs(statistics.median(of_known) - statistics.median(of_unknown))
    return bool(apart > max(noise, 0.005))


def test_the_time_of_a_sign_in_tells_nothing(somebody: User) -> None:
    # The time that the processor works: a password's hash is most of it, and what the machine does besides is left out.
    assert not differs(sign_in, somebody.email, time.thread_time)


@pytest.mark.parametrize("ask", [reset, sign_up])
def test_nor_does_that_of_asking_for_a_mail(somebody: User, ask: Ask) -> None:
    assert not differs(ask, somebody.email, time.monotonic)


def test_this_test_would_notice(somebody: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuthenticationBackend, "_mitigate_timing_attack", lambda self, password: None)
    assert differs(sign_in, somebody.email, time.thread_time)


def test_it_would_notice_without_the_steps(somebody: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "STEP_SECONDS", 0.000001)
    monkeypatch.setattr(SignUpForm, "try_save", theirs.SignupForm.try_save)
    assert differs(sign_up, somebody.email, time.thread_time)

"""Keys of the service's clients.

A key is ``ai_<id>_<secret>``. The secret has 256 random bits, so its plain SHA-256 is kept; the key
itself is shown once.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass

from activeindex.errors import InputError
from activeindex.service.database import Database

SCOPES = ("search", "register", "remove", "admin")
"""What a key may allow; ``admin`` allows all."""

_COLUMNS = "id, scopes, created, expires, revoked"

_KEY = re.compile(r"ai_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Key:
    """A key without its secret.

    Attributes:
        id: Its public part.
        scopes: What it allows.
        created: Time in seconds since 1970.
        expires: Time after which it is not valid; None for never.
        revoked: Time at which it was revoked; None if it was not.
    """

    id: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None
    revoked: float | None

    def allows(self, scope: str) -> bool:
        """Return True if the key has a scope."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def valid(self) -> bool:
        """True if it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or time.time() < self.expires)


def create_key(database: Database, scopes: Collection[str], lifetime: float | None = None) -> str:
    """Make a key, and return it; it cannot be shown again.

    Args:
        database: Where it is kept.
        scopes: Any of :data:`SCOPES`.
        lifetime: Seconds until it expires; None for never.

    Raises:
        InputError: If a scope is not known.
    """
    if not scopes or (unknown := set(scopes) - set(SCOPES)):
        found = min(unknown) if scopes else "none"
        raise InputError(f"scopes: expected some of {', '.join(SCOPES)}, found {found}")
    number, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    now = time.time()
    with database.changing() as connection:
        connection.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, NULL)",
            (
                number,
                _hash(secret),
                ",".join(sorted(set(scopes))),
                now,
                None if lifetime is None else now + lifetime,
            ),
        )
    return f"ai_{number}_{secret}"


def list_keys(database: Database) -> list[Key]:
    """All keys, oldest first."""
    return [
        _key(*row) for row in database.rows(f"SELECT {_COLUMNS} FROM keys ORDER BY created, id")
    ]


def revoke_key(database: Database, number: str) -> None:
    """Revoke a key: from now on it is refused.

    Raises:
        InputError: If there is none of this id.
    """
    given = _KEY.fullmatch(number)
    number = given[1] if given else number
    with database.changing() as connection:
        changed = connection.execute(
            "UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (time.time(), number)
        ).rowcount
    if not changed:
        raise InputError(f"key: expected the id of a valid key, found {number!r}")


def key_of_id(database: Database, number: str) -> Key | None:
    """The key of an id, valid or not; None if there is none."""
    found = database.rows(f"SELECT {_COLUMNS} FROM keys WHERE id = ?", number)
    return _key(*found[0]) if found else None


def check_key(database: Database, text: str) -> Key | None:
    """The valid key that a text is; None if it is none.

    The comparison takes the same time for every secret, and for ids that do not exist.
    """
    given = _KEY.fullmatch(text)
    number, secret = (given[1], given[2]) if given else ("", "")
    found = database.rows(f"SELECT hash, {_COLUMNS} FROM keys WHERE id = ?", number)
    kept, *row = found[0] if found else (bytes(32),)
    if not hmac.compare_digest(kept, _hash(secret)) or not row:
        return None
    key = _key(*row)
    return key if key.valid else None


def _key(number: str, scopes: str, *times: float | None) -> Key:
    created, expires, revoked = times
    assert created is not None
    return Key(number, tuple(scopes.split(",")), created, expires, revoked)


def seconds_of(text: str) -> float:
    """Seconds of a duration such as ``90d``, ``12h``, ``30m``.

    Raises:
        InputError: If it is none.
    """
    given = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if given is None or int(given[1]) == 0:
        raise InputError(f"expires: expected a duration such as 90d or 12h, found {text!r}")
    return float(int(given[1]) * _UNITS[given[2]])


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()

"""Identities of extractors and quantisers, as files store and commands compare them."""

from dataclasses import replace

import pytest

from activeindex.errors import InputError
from activeindex.identity import (
    ExtractorIdentity,
    QuantiserIdentity,
    check_extractors,
    noted_difference,
    same,
)

NET = ExtractorIdentity("net.pt", "0123456789ab" + 52 * "c", 288)
POOLED = replace(NET, pooling="gem:3", whitening="fedcba987654" + 52 * "0")
INDEX = QuantiserIdentity("IVF64,PQ8x8 L2", "abcdef012345" + 52 * "1")


@pytest.mark.parametrize("identity", [NET, POOLED, replace(NET, pooling="mean")])
def test_an_extractor_comes_back_from_json_with_all_its_fields(identity: ExtractorIdentity) -> None:
    assert ExtractorIdentity.from_json(identity.as_json()) == identity


@pytest.mark.parametrize(
    "identity",
    [NET, POOLED, replace(NET, name="a+b (1).pt"), replace(NET, pooling="gem:2.5")],
    ids=str,
)
def test_the_text_that_0_1_stored_stands_for_the_same_extractor(
    identity: ExtractorIdentity,
) -> None:
    found = ExtractorIdentity.from_json(str(identity))
    assert found is not None
    assert same(found, identity)
    assert (found.name, found.pooling) == (identity.name, identity.pooling)
    full = ExtractorIdentity.from_json(str(identity), identity.sha256)
    assert full is not None
    assert full.sha256 == identity.sha256


def test_fields_of_0_1_keep_what_is_behind_the_network_in_the_name() -> None:
    noted = {"name": "net.pt+gem:3+whitening:fedcba987654", "sha256": NET.sha256, "input_size": 288}
    found = ExtractorIdentity.from_json(noted)
    assert found == replace(POOLED, whitening="fedcba987654")
    assert same(found, POOLED)


@pytest.mark.parametrize(
    "other",
    [
        replace(NET, name="other.pt"),
        replace(NET, sha256="f" + NET.sha256[1:]),
        replace(NET, sha256=NET.sha256[:-1] + "0"),
        replace(NET, input_size=224),
        replace(NET, pooling="mean"),
        replace(NET, whitening=64 * "0"),
    ],
    ids=["name", "hash", "last digit of the hash", "size", "pooling", "whitening"],
)
def test_extractors_that_differ_in_a_field_are_different(other: ExtractorIdentity) -> None:
    assert not same(NET, other)
    with pytest.raises(
        InputError, match=r"^index: expected features of net\.pt .*, found features"
    ):
        check_extractors("index", NET, other)


def test_an_unknown_extractor_is_taken() -> None:
    check_extractors("index", None, NET)
    check_extractors("index", NET, None)


def test_quantisers_are_compared_by_their_files() -> None:
    assert same(INDEX, replace(INDEX, name="renamed.index"))
    assert not same(INDEX, replace(INDEX, sha256=64 * "2"))


def test_notes_of_both_releases_name_the_same_quantisers() -> None:
    other = QuantiserIdentity("a and b (2).index", "0123456789ab" + 52 * "3")
    here = [INDEX.as_json(), other.as_json()]
    assert noted_difference("quantiser", here, f"{INDEX} and {other}") is None
    assert noted_difference("quantiser", here, f"{INDEX}") == (f"{INDEX} and {other}", f"{INDEX}")
    assert noted_difference("extractor", POOLED.as_json(), str(POOLED)) is None


@pytest.mark.parametrize(
    "value", [7, "net.pt", {"name": "net.pt"}, ["net.pt"], '{"a', '{"a":' * 9999]
)
def test_other_values_are_refused_in_one_line(value: object) -> None:
    with pytest.raises(InputError, match=r"^extractor: expected its name, sha256 and input_size"):
        ExtractorIdentity.from_json(value)
    with pytest.raises(InputError, match=r"^fts.json: extractor: expected its name"):
        ExtractorIdentity.from_json(value, where="fts.json")

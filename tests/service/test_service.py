"""Register, search, read, change and remove over HTTP, with a real server and client."""

import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.conftest import (
    Register,
    Server,
    activeindex,
    edited,
    new_key,
    picture,
)


def search(client: httpx.Client, data: bytes, **fields: object) -> dict[str, object]:
    answer = client.post("/v1/search", files={"file": ("q.jpg", data)}, data=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def ids(answer: dict[str, object]) -> list[int]:
    return [match["id"] for match in answer["matches"]]  # type: ignore[attr-defined]


def test_a_registered_picture_is_found_by_the_next_search_and_a_removed_one_is_not(
    client: httpx.Client, register: Register
) -> None:
    made = register(0, tags=["summer", "sea"], metadata=json.dumps({"holder": "ö"}))
    assert made.status_code == 201, made.text
    image = made.json()
    assert (image["name"], image["tags"], image["metadata"]) == (
        "0.png",
        ["summer", "sea"],
        {"holder": "ö"},
    )
    assert image["activated"]
    assert image["psnr"] >= 42.5
    released = client.get(image["links"]["released"])
    assert released.headers["content-type"] == "image/png"
    assert ids(search(client, edited(released.content)))[0] == image["id"]
    thumbnail = client.get(image["links"]["thumbnail"])
    assert thumbnail.headers["content-type"] == "image/webp"
    assert client.get(made.headers["Location"]).json() == image
    assert client.delete(made.headers["Location"]).status_code == 204
    assert image["id"] not in ids(search(client, edited(released.content)))
    assert client.get(made.headers["Location"]).status_code == 404
    assert client.get(image["links"]["released"]).status_code == 404


def test_it_gives_what_the_commands_give_and_shares_the_store_with_them(
    client: httpx.Client, register: Register, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(picture(1))
    (tmp_path / "query.jpg").write_bytes(edited(picture(1)))
    activeindex(
        *("register", tmp_path / "pictures", "--store", tmp_path / "own", "--preset", "fast"),
        *("--released", tmp_path / "released", "--workers", "0"),
    )
    image = register(1).json()
    released = client.get(image["links"]["released"]).content
    assert released == (tmp_path / "released" / "1.png").read_bytes()
    printed = activeindex("search", tmp_path / "query.jpg", "--store", server.store, "--json")
    of_command = json.loads(printed)
    of_service = search(client, (tmp_path / "query.jpg").read_bytes())
    assert of_service["matches"] == of_command["matches"]
    assert of_service["searched"] == of_command["searched"]
    assert of_service["decision"] == of_command["decision"]
    # What a command adds and removes while the server runs, the server's next search knows.
    (tmp_path / "pictures" / "1.png").unlink()
    (tmp_path / "pictures" / "2.png").write_bytes(picture(2))
    activeindex(
        *("register", tmp_path / "pictures", "--store", server.store, "--untouched"),
        *("--workers", "0"),
    )
    found = search(client, picture(2))["matches"][0]  # type: ignore[index]
    assert found["name"] == "2.png"
    activeindex("store", "remove", server.store, "2.png")
    assert found["id"] not in ids(search(client, picture(2)))


def test_a_change_is_effective_for_the_next_search(
    client: httpx.Client, register: Register
) -> None:
    image = register(3).json()
    there = image["links"]["self"]
    assert ids(search(client, picture(3)))[0] == image["id"]
    changed = client.patch(there, json={"disabled_until": 4e9, "tags": ["taken down"]})
    assert (changed.json()["disabled_until"], changed.json()["tags"]) == (4e9, ["taken down"])
    assert image["id"] not in ids(search(client, picture(3)))
    client.patch(there, json={"disabled_until": None})
    filters = [{"column": "tags", "operator": "contains", "value": "taken down"}]
    assert ids(search(client, picture(3), filters=json.dumps(filters))) == [image["id"]]
    assert (
        ids(search(client, picture(3), filters='[{"column":"psnr","operator":"<","value":1}]'))
        == []
    )
    for body in ({"name": "other"}, {"tags": "word"}, {"disabled_until": -1}):
        assert client.patch(there, json=body).status_code == 422
    assert client.patch("/v1/images/99999", json={"tags": []}).status_code == 404


def test_a_stored_image_is_searched_for_and_the_listing_has_cursors(
    client: httpx.Client, register: Register
) -> None:
    made = [register(number).json()["id"] for number in (4, 5, 6)]
    assert client.post("/v1/search", data={"id": made[1]}).json()["matches"][0]["id"] == made[1]
    assert client.post("/v1/search", data={"id": 99999}).status_code == 404
    assert client.post("/v1/search").status_code == 422
    seen: list[int] = []
    cursor: int | None = -1
    while cursor is not None:
        page = client.get("/v1/images", params={"cursor": cursor, "limit": 2}).json()
        assert len(page["images"]) <= 2
        seen += [image["id"] for image in page["images"]]
        cursor = page["next"]
    assert seen == sorted(set(seen))
    assert set(made) <= set(seen)


def test_the_same_key_and_body_get_the_same_answer(
    client: httpx.Client, register: Register
) -> None:
    once = {"headers": {"Idempotency-Key": "first"}}
    made = register(7, **once)
    again = register(7, **once)
    assert (made.status_code, again.status_code) == (201, 201)
    assert again.json() == made.json()
    assert register(7, tags=["other"], **once).status_code == 422
    waiting = {"Idempotency-Key": "second", "Prefer": "wait=0"}
    first = register(8, headers=waiting)
    assert first.status_code == 202
    assert register(8, headers=waiting).status_code in (202, 409)
    job = client.get(first.headers["Location"]).json()
    assert job["state"] in ("queued", "running", "done")
    ended = register(8, headers={"Idempotency-Key": "second"})
    while ended.status_code == 409 and "running" in ended.json()["detail"]:
        ended = register(8, headers={"Idempotency-Key": "second"})
    assert ended.status_code == 201
    assert client.get(first.headers["Location"]).json()["answer"] == ended.json()


def test_a_picture_or_name_that_is_there_is_a_conflict(register: Register) -> None:
    made = register(9)
    taken = register(10, name="9.png")
    assert (taken.status_code, taken.json()["id"]) == (409, made.json()["id"])
    same = register(9, name="another.png")
    assert (same.status_code, same.json()["id"]) == (409, made.json()["id"])
    assert register(9, name="another.png", allow_duplicate=True).status_code == 201


def test_without_a_key_nothing_but_health_answers(client: httpx.Client, server: Server) -> None:
    routes = client.get("/openapi.json").json()["paths"]
    assert len(routes) >= 10
    with server.client(None) as nobody:
        assert nobody.get("/livez").json() == {"status": "alive"}
        assert nobody.get("/readyz").json() == {"ready": True, "reason": None}
        for path, methods in [*routes.items(), ("/openapi.json", {"get": {}})]:
            if path in ("/livez", "/readyz"):
                continue
            for method in methods:
                answer = nobody.request(method, path.replace("{number}", "0"))
                assert answer.status_code == 401, (method, path)
                assert answer.headers["content-type"] == "application/problem+json"
        wrong = new_key(server.store)[:-1] + "-"
        assert (
            nobody.get("/metrics", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
        )


def test_a_key_allows_its_scopes_until_it_expires_or_is_revoked(server: Server) -> None:
    searching = new_key(server.store, "search")
    with server.client(searching) as only_search:
        assert only_search.get("/metrics").status_code == 200
        assert only_search.post("/v1/search").status_code == 422
        refused = [only_search.get("/v1/images"), only_search.delete("/v1/images/0")]
        refused.append(only_search.post("/v1/images", files={"file": b"x"}))
        assert [answer.status_code for answer in refused] == [403, 403, 403]
        activeindex("keys", "revoke", "--store", server.store, searching.split("_")[1])
        assert only_search.get("/metrics").status_code == 401
    listed = json.loads(activeindex("keys", "list", "--store", server.store, "--json"))
    assert {key["id"]: key["valid"] for key in listed}[searching.split("_")[1]] is False
    assert searching not in json.dumps(listed)
    assert searching.split("_")[2].encode() not in b"".join(
        path.read_bytes() for path in (server.store / "service").glob("service.sqlite*")
    )


def test_it_tells_what_decisions_rest_on(client: httpx.Client) -> None:
    (calibration,) = client.get("/v1/calibration").json()
    (generation,) = client.get("/v1/generations").json()
    assert calibration["quantiser"] == generation["quantiser"]["sha256"]
    assert "ImageNet" in calibration["background"]["source"]
    assert generation["calibrated"]


def test_metrics_are_read_by_prometheus(client: httpx.Client) -> None:
    families = {f.name: f for f in text_string_to_metric_families(client.get("/metrics").text)}
    images = families["activeindex_images"].samples[0].value
    assert images == len(client.get("/v1/images", params={"limit": 1000}).json()["images"])
    answers = families["activeindex_requests"].samples
    assert any(s.labels["route"] == "/v1/search" and s.value > 0 for s in answers)


def test_a_backup_under_load_is_restored_and_a_damaged_one_refused(
    client: httpx.Client, register: Register, server: Server, tmp_path: Path
) -> None:
    before = client.get("/v1/images", params={"limit": 1000}).json()["images"]
    activeindex("backup", server.store, tmp_path / "copy")
    activeindex("restore", tmp_path / "copy", tmp_path / "again")
    restored = Server(tmp_path / "again")
    restored.start()
    try:
        with restored.client(new_key(restored.store)) as other:
            assert other.get("/v1/images", params={"limit": 1000}).json()["images"] == before
            link = next(i["links"]["released"] for i in before if i["activated"])
            assert other.get(link).content == client.get(link).content
    finally:
        assert restored.stop() == 0
    assert "expected nothing there" in activeindex(
        "backup", server.store, tmp_path / "copy", code=2
    )
    records = next((tmp_path / "copy").glob("generation-*/records.sqlite"))
    data = bytearray(records.read_bytes())
    data[len(data) // 2] ^= 1
    records.write_bytes(data)
    assert "BACKUP" in activeindex("restore", tmp_path / "copy", tmp_path / "third", code=2)
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("keys", "create", "--store", "{store}", "--scopes", "fly"), "scopes"),
        (("keys", "create", "--store", "{store}", "--expires", "soon"), "expires"),
        (("keys", "revoke", "--store", "{store}", "0" * 12), "key"),
        (("keys", "list", "--store", "nowhere"), "store"),
        (("serve", "{store}/fresh", "--host", "0.0.0.0"), "host 0.0.0.0"),
        (("restore", "nowhere", "{store}"), "BACKUP"),
    ],
)
def test_bad_options_are_refused_in_a_line(
    arguments: tuple[str, ...], named: str, server: Server
) -> None:
    given = [each.replace("{store}", str(server.store)) for each in arguments]
    printed = activeindex(*given, code=2)
    assert printed.count("\n") == 1
    assert named in printed

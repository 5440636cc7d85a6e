"""Downloads: where a file may come from, and what may not be one."""

import subprocess
import time
from pathlib import Path

import pytest

from activeindex.errors import InputError, OutputError
from activeindex.extractors.weights import download
from tests.extractors.file_server import BODY, NEW_BODY, FileServer, left_in, one_line, serving


def test_a_redirect_on_the_way_is_followed(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"/old": "new files/ü"}
    download(f"{server.address}/old", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.requests[1]["path"] == "/new%20files/%FC"


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/file",
        "data:application/zip;base64,UEsDBA==",
        "http://192.0.2.1/file",
        "//192.0.2.1/file",
        "http://127.0.0.1@192.0.2.1/file",
        "http://127.0.0.1.nowhere.invalid/file",
        "http://0x7f000001/file",
        "https:///file",
        "http://127.0.0.1:number/file",
        "http://127.0.0.1:99999/file",
        "http://[::1/file",
        "https://" + "a" * 70 + "/file",
    ],
)
def test_a_hostile_redirect_is_refused(target: str, server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"/": target}
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        download(server.address, tmp_path / "file")
    assert time.monotonic() - started < 5
    assert target in one_line(caught)
    assert len(server.requests) == 1
    assert left_in(tmp_path) == []


def test_redirects_in_a_circle_come_to_an_end(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"/one": "/two", "/two": "/one"}
    with pytest.raises(InputError, match=r"/one: expected a file, found more than 5 redirects$"):
        download(f"{server.address}/one", tmp_path / "file")
    assert len(server.requests) == 6


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine, with its key."""
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    options = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(path), "-out", str(path)]
    try:
        subprocess.run(
            ["openssl", *options.split(), *subject, *files], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("an https server needs openssl for its certificate")
    return path


def test_https_is_not_left_for_http_on_the_way(
    certificate: Path, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(FileServer(NEW_BODY), certificate) as secure:
        with pytest.raises(InputError, match=r"cannot be reached \(.*self.signed certificate"):
            download(secure.address, tmp_path / "file")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        secure.redirects = {"/": f"{server.address}/file"}
        with pytest.raises(InputError, match=f"redirects to {server.address}/file, which is ref"):
            download(secure.address, tmp_path / "file")
        assert not server.requests
        assert left_in(tmp_path) == []
        server.redirects = {"/": f"{secure.address}/file"}
        download(server.address, tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == NEW_BODY


@pytest.mark.parametrize(
    "address", ["http://example.org/file", "ftp://example.org/file", "/etc/passwd", "https://ü.de"]
)
def test_only_https_is_fetched(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{address}: expected an https address, found "):
        download(address, tmp_path / "file")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_answer_that_is_no_file_is_refused_with_its_status(
    status: int, server: FileServer, tmp_path: Path
) -> None:
    server.answer = lambda request: (status, {}, BODY)
    with pytest.raises(InputError, match=f"expected a file, found status {status}$"):
        download(server.address, tmp_path / "file")
    assert left_in(tmp_path) == []


def test_a_full_disk_is_an_error_with_its_reason(server: FileServer, tiny_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"file: cannot be written \(No space left on device\)$"):
        download(server.address, tiny_disk / "file")
    assert not (tiny_disk / "file").exists()

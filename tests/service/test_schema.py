"""The OpenAPI schema: what it says is what the server does."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Server, new_key

EXAMPLES = 100 if os.environ.get("ACTIVEINDEX_LONG") == "1" else 3


def test_the_schema_is_openapi_3_1_and_names_the_key(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


def test_answers_to_drawn_requests_fit_the_schema(server: Server, tmp_path: Path) -> None:
    key = new_key(server.store)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}", "--seed", "0"),
            *("--max-examples", str(EXAMPLES), "--phases", "examples,fuzzing"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
            *("--checks", "response_schema_conformance", "--no-color", "--workers", "1"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.skipif(os.environ.get("ACTIVEINDEX_LONG") != "1", reason="ACTIVEINDEX_LONG=1 runs it")
def test_a_generated_client_searches_and_registers(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(client.get("/openapi.json").text)
    subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate"),
            *("--path", str(tmp_path / "openapi.json"), "--output-path", str(tmp_path / "made")),
            *("--meta", "none"),
        ],
        check=True,
        cwd=tmp_path,
    )
    assert list((tmp_path / "made").rglob("*search*.py"))

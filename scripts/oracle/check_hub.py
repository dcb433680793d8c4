"""What huggingface_hub makes of a cache or folder that bitnet-hub filled, and the other way round.

    HF_ENDPOINT=http://127.0.0.1:PORT check_hub.py finds CACHE COMMIT   our cache, their eyes, no network
    ... check_hub.py again CACHE COMMIT      their download on top of our cache
    ... check_hub.py pull CACHE              their download into an empty cache
    ... check_hub.py local DIR               their download into a folder that we filled
    ... check_hub.py pull-local DIR          their download into an empty folder
    ... check_hub.py prune CACHE             their scan sees a dead partial of ours as one
    ... check_hub.py transformers CACHE      transformers loads model and tokenizer from our cache, no network
    ... check_hub.py xet CACHE               their download with hf_xet, from the store of the fake hub

Run by tests/hub/test_hub_oracle.c, which owns the server and counts the bytes. Needs the environment of
scripts/oracle/venv.sh. Exit code 0, or an assertion with its reason.
"""

import os
import sys
from pathlib import Path

mode, place = sys.argv[1], Path(sys.argv[2])
os.environ["HF_HUB_CACHE"] = str(place if mode in ("finds", "again", "pull", "prune", "transformers", "xet") else place / "unused")
os.environ["HF_HOME"] = str(place.parent / "hf-home")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ.pop("HF_TOKEN", None)
if mode in ("finds", "transformers"):
    os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "0" if mode == "xet" else "1"
os.environ["HF_XET_CACHE"] = str(place.parent / "xet-cache")

from huggingface_hub import (  # noqa: E402  (the environment comes first)
    hf_hub_download,
    scan_cache_dir,
    snapshot_download,
    try_to_load_from_cache,
)

REPO = "org/model"


def check_scan(commit):
    info = scan_cache_dir(place)
    assert not info.warnings, info.warnings
    repo = next(iter(info.repos))
    assert repo.repo_id == REPO and repo.repo_type == "model", repo
    revision = next(r for r in repo.revisions if r.commit_hash == commit)
    assert "main" in revision.refs, revision.refs
    assert repo.size_on_disk == sum(p.stat().st_size for p in (place / "models--org--model/blobs").iterdir())


def finds(commit):
    check_scan(commit)
    snapshot = place / "models--org--model" / "snapshots" / commit
    config = try_to_load_from_cache(REPO, "config.json", cache_dir=place)
    assert config == str(snapshot / "config.json"), config
    assert hf_hub_download(REPO, "model.safetensors", local_files_only=True) == str(snapshot / "model.safetensors")
    assert snapshot_download(REPO, local_files_only=True) == str(snapshot)
    assert type(try_to_load_from_cache(REPO, "absent.json", cache_dir=place)) is object, "no .no_exist marker"


def again(commit):
    snapshot = place / "models--org--model" / "snapshots" / commit
    assert snapshot_download(REPO) == str(snapshot)
    assert hf_hub_download(REPO, "config.json") == str(snapshot / "config.json")
    check_scan(commit)


def prune():
    info = scan_cache_dir(place)
    assert not info.warnings, info.warnings
    partials = getattr(info, "incomplete_files", None)
    assert partials is None or len(partials) >= 1, partials


def load():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(REPO)
    model = AutoModelForCausalLM.from_pretrained(REPO)
    ids = tokenizer("Once upon a time", return_tensors="pt").input_ids
    assert ids.shape[1] > 1, ids
    assert model(ids).logits.shape[:2] == ids.shape


def xet():
    import hf_xet  # noqa: F401  (without it, plain HTTP would be used)

    snapshot_download(REPO)


if mode == "finds":
    finds(sys.argv[3])
elif mode == "again":
    again(sys.argv[3])
elif mode == "pull":
    snapshot_download(REPO)
elif mode in ("local", "pull-local"):
    snapshot_download(REPO, local_dir=place)
elif mode == "prune":
    prune()
elif mode == "transformers":
    load()
elif mode == "xet":
    xet()
else:
    sys.exit(__doc__)

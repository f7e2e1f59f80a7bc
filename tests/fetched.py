"""Real data for tests, fetched as a user fetches it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from platformdirs import user_cache_path

import kdbench
from kdbench.catalog import Catalog
from kdbench.errors import ClientMissing, Offline, VersionGone
from kdbench.fetching.fetch import fetch
from kdbench.fetching.holdings import named


class RealData:
    """Real data by name, fetched once and kept between test runs; see CONTRIBUTING.md.

    `cache`: what a test that runs a command gives as KDBENCH_CACHE. What is prepared there is of this session alone.
    """

    def __init__(self, catalog: Catalog, cache: Path) -> None:
        asked = os.environ.get("KDBENCH_TEST_DATA")
        self.cache = cache
        self._kept = kept = Path(asked).absolute() if asked else user_cache_path("kdbench-tests")
        self._catalog = catalog
        self._loaded: dict[str, kdbench.Data] = {}
        (kept / "sources").mkdir(parents=True, exist_ok=True)
        (cache / "sources").symlink_to(kept / "sources")

    def __call__(self, name: str) -> kdbench.Data:
        """The dataset as its factory gives it: read once a session, so it must not be changed."""
        self.fetch(name)
        if name not in self._loaded:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("KDBENCH_CACHE", str(self.cache))
                self._loaded[name] = self._catalog.find("dataset", name).load()()
        return self._loaded[name]

    def fetch(self, name: str) -> None:
        """Have what a dataset or a model needs; skips the test where this machine cannot get it now."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KDBENCH_CACHE", str(self._kept))
            for entry in named(self._catalog, [name]):
                for source in entry.sources:
                    try:
                        fetch(source)
                    except (Offline, ClientMissing) as error:
                        pytest.skip(f"{name}: {error.what}: {error.why}")
                    except VersionGone as error:
                        if source.client != "apt":  # whose lists may be old, or of another release
                            raise
                        pytest.skip(f"{name}: {error.what}: {error.fix}")

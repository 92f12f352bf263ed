"""Directories of volumes are deleted, and nothing beside them."""

from __future__ import annotations

import pytest

from cybernetes.services.controllers.directories import erase


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "volumes"
    made.mkdir()
    return made


async def test_a_directory_goes_with_all_that_is_in_it(root):
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_text("x")
    (root / "other").mkdir()
    assert await erase(f"{root}/a", str(root)) == ""
    assert [found.name for found in root.iterdir()] == ["other"]
    assert await erase(f"{root}/a", str(root)) == "", "it is gone already"


async def test_links_are_not_followed(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (root / "link").symlink_to(outside)
    assert "is a link" in await erase(f"{root}/link", str(root))
    (root / "a").mkdir()
    (root / "a" / "link").symlink_to(outside)
    assert await erase(f"{root}/a", str(root)) == ""
    assert (outside / "precious").exists()


@pytest.mark.parametrize("path", ["{root}", "{root}/..", "{root}/a/b", "{root}/../x", "/etc", "a", "", "{root}/."])
async def test_other_places_are_refused(root, path):
    (root / "a" / "b").mkdir(parents=True)
    assert "is no directory of" in await erase(path.format(root=root), str(root))
    assert (root / "a" / "b").exists()


async def test_without_a_root_nothing_is_deleted(root):
    assert await erase(str(root), "") != ""
    assert root.exists()

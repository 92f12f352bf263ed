"""What only the Docker runtime does."""

import errno

import pytest
from subjects import DockerSubject

from cybernetes.services.kubelet.runtimes.docker import images
from cybernetes.services.kubelet.volumes.manager import remove_tree
from cybernetes.services.kubelet.volumes.mounts import mounts_below

pytestmark = [pytest.mark.docker, pytest.mark.root]


@pytest.fixture
async def docker(tmp_path):
    subject = DockerSubject()
    if reason := subject.unavailable():
        pytest.skip(reason)
    runtime = await subject.open(tmp_path)
    await runtime.start()
    yield runtime
    await runtime.stop()
    await subject.close(tmp_path)


@pytest.mark.parametrize("driver", ["overlay2", "another"])
async def test_an_image_is_shown_as_a_folder(docker, tmp_path, driver, monkeypatch):
    """Mounted where the engine keeps layers as folders, copied where it does not say where they are."""
    if driver == "another":
        call = docker._images._call

        async def without_driver(method, *arguments, **keywords):
            found = await call(method, *arguments, **keywords)
            return {**found, "GraphDriver": {"Name": driver}} if method == "inspect_image" else found

        monkeypatch.setattr(docker._images, "_call", without_driver)
    target = tmp_path / "shown"
    target.mkdir()
    await docker.show_image(DockerSubject.image, target)
    assert (target / "etc" / "passwd").read_text().startswith("root:")
    assert (target / "bin" / "sh").readlink().name == "busybox"
    with pytest.raises(OSError) as refused:
        (target / "new").touch()
    assert refused.value.errno == errno.EROFS
    remove_tree(target)
    assert not target.exists()


def test_layers_lie_over_one_another(tmp_path):
    upper, lower, target = (tmp_path / name for name in ("upper", "lower", "target"))
    for folder in (upper, lower, target):
        folder.mkdir()
    (lower / "both").write_text("lower")
    (upper / "both").write_text("upper")
    (lower / "deep").write_text("lower")
    images._mount_layers([str(upper), str(lower)], target)
    try:
        assert (target / "both").read_text() == "upper" and (target / "deep").read_text() == "lower"
    finally:
        remove_tree(target)
    assert not mounts_below(tmp_path) and (lower / "deep").exists()

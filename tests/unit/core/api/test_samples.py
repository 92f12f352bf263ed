"""One object of every kind goes the whole way, and the same way twice."""

import pytest
from apiobjects import made, read, refusals, resource_of, update_refusals, warnings_of
from samples import SAMPLES

from cybernetes.core.api import codec
from cybernetes.core.api.registry import builtin
from cybernetes.core.api.resource import Strategy
from cybernetes.core.objects import clone


def name_of(obj):
    return f"{obj['apiVersion']}/{obj['kind']}"


def test_there_is_a_sample_of_every_kind_that_is_kept():
    kinds = {resource.gvk for resource in builtin().all() if resource.is_stored}
    kinds -= {resource.gvk for resource in builtin().all() if resource.gvk.group == "events.k8s.io"}
    sampled = {resource_of(sample).gvk for sample in SAMPLES}
    assert {gvk.kind for gvk in kinds - sampled} == {"CertificateSigningRequest"}


def test_every_kind_that_is_kept_is_checked():
    nothing = Strategy()
    for resource in builtin().all():
        if resource.is_stored and resource.storage is None:
            assert resource.strategy.validate_create is not nothing.validate_create, resource.gvr
            assert resource.strategy.validate_update is not nothing.validate_update, resource.gvr


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_a_sample_is_taken(sample):
    assert refusals(sample) == []
    assert warnings_of(sample) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_a_sample_can_be_written_again(sample):
    again = made(sample) if sample["kind"] == "Job" else sample  # a Job's selector was generated
    assert update_refusals(again, sample) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_reading_and_defaulting_change_nothing_the_second_time(sample):
    stored = made(sample)
    again = read(clone(stored))
    assert codec.encode(again) == codec.encode(stored)

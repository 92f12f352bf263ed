"""Patches against independent readings of their rules.

JSON patch is compared with a plain reading of what upstream's library does, merge patch with the pseudocode of RFC
7386. For strategic merge there are two: a literal, slow reading of upstream's rules on lists, and the law that what
kubectl's diff of two objects says, applied to the first, gives the second.
"""

import copy
import functools
import json

import jsonpatch
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cybernetes.core.api.patch import apply_json_patch, apply_merge_patch, apply_strategic_merge_patch
from cybernetes.core.api.schema import load
from cybernetes.core.errors import ApiError

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"])
keys = st.sampled_from(["a", "b", "c/d", "e~f", "0", "-"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(keys, values, max_size=4)


# --- JSON patch -------------------------------------------------------------------------------------------------------


def pointers(value, prefix=""):
    """Every path of a document, and a few beside them."""
    if isinstance(value, dict):
        for key, member in value.items():
            path = f"{prefix}/{key.replace('~', '~0').replace('/', '~1')}"
            yield path
            yield from pointers(member, path)
        yield f"{prefix}/new"
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield f"{prefix}/{index}"
            yield from pointers(member, f"{prefix}/{index}")
        yield from (f"{prefix}/{odd}" for odd in ("-", len(value), "-1", -len(value) - 1, "+0", "00", "x"))
        yield f"{prefix}/-1/a"


@st.composite
def documents_and_patches(draw):
    document = draw(objects)
    places = sorted(set(pointers(document)) | {"/nowhere/at/all", "/new", "", "x/new", "/e~f"})
    place = st.sampled_from(places)
    one = st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "replace", "test"]), "path": place}, optional={"value": values}
    )
    two = st.fixed_dictionaries({"op": st.just("remove"), "path": place})
    three = st.fixed_dictionaries({"op": st.sampled_from(["move", "copy"]), "path": place, "from": place})
    return document, draw(st.lists(one | two | three, max_size=6))


class Refused(Exception):
    pass


def slow_find(document, path):
    """The container that a path leads to, and the key in it."""
    start, *parts = path.split("/")
    if not parts:
        raise Refused(start)
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in parts]
    for part in way:
        document = slow_get(document, part)
    if not isinstance(document, dict | list):
        raise Refused(path)
    return document, last


def slow_index(part, size):
    if not part.lstrip("+-").isdigit() or not -size <= int(part) < size:
        raise Refused(part)
    return int(part) % size


def slow_get(container, part):
    if isinstance(container, list):
        return container[slow_index(part, len(container))]
    if not isinstance(container, dict) or part not in container:
        raise Refused(part)
    return container[part]


def slow_add(document, path, value):
    container, key = slow_find(document, path)
    if isinstance(container, dict):
        container[key] = value
    else:
        size = len(container)
        container.insert(size if key == "-" else slow_index(key, size + 1), value)


def slow_remove(document, path):
    container, key = slow_find(document, path)
    value = slow_get(container, key)
    del container[key if isinstance(container, dict) else slow_index(key, len(container))]
    return value


def slow_apply(document, operation):
    kind, path, value = operation["op"], operation["path"], copy.deepcopy(operation.get("value"))
    if kind == "add":
        slow_add(document, path, value)
    elif kind == "remove":
        slow_remove(document, path)
    elif kind == "replace":
        container, key = slow_find(document, path)
        slow_get(container, key)
        container[key if isinstance(container, dict) else slow_index(key, len(container))] = value
    elif kind == "copy":
        slow_add(document, path, copy.deepcopy(slow_get(*slow_find(document, operation["from"]))))
    elif kind == "move":
        slow_add(document, path, slow_remove(document, operation["from"]))
    else:
        container, key = slow_find(document, path)
        is_absent = isinstance(container, dict) and key not in container
        found = None if is_absent else slow_get(container, key)
        if json.dumps(found, sort_keys=True) != json.dumps(value, sort_keys=True):
            raise Refused(path)


def is_below(path, source):
    return path.count("/") > source.count("/") and path.startswith(source.rpartition("/")[0] + "/")


@given(documents_and_patches())
def test_json_patch_is_what_its_slow_twin_makes(pair):
    document, operations = pair
    # The RFC forbids to move a value into itself; upstream's library does it where a list is renumbered.
    assume(not any(each["op"] == "move" and is_below(each["path"], each["from"]) for each in operations))
    before = copy.deepcopy((document, operations))
    expected = copy.deepcopy(document)
    try:
        for operation in operations:
            slow_apply(expected, operation)
    except Refused:
        expected = None
    try:
        found = apply_json_patch(document, operations)
    except ApiError:
        found = None
    assert found == expected
    assert (document, operations) == before


@given(objects, objects)
def test_json_patch_carries_out_any_difference(first, second):
    assert apply_json_patch(first, list(jsonpatch.make_patch(first, second))) == second


# --- merge patch ------------------------------------------------------------------------------------------------------


def rfc7386(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = rfc7386(result.get(name), value)
    return result


def without_lists_of_nulls(value):
    """Upstream also removes null members of objects within lists, which the RFC leaves alone."""
    if isinstance(value, dict):
        return {key: without_lists_of_nulls(member) for key, member in value.items()}
    return value if not isinstance(value, list) else [each for each in value if not isinstance(each, dict | list)]


@given(objects, objects)
def test_merge_patch_is_the_rfcs(document, patch):
    patch = without_lists_of_nulls(patch)
    before = copy.deepcopy((document, patch))
    assert apply_merge_patch(document, patch) == rfc7386(document, patch)
    assert (document, patch) == before


# --- strategic merge patch --------------------------------------------------------------------------------------------

POD = load().type("io.k8s.api.core.v1.PodSpec")
META = load().type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")

texts = st.sampled_from(["x", "y", "z"])
environments = st.lists(
    st.builds(lambda name, value: {"name": name, "value": value}, st.sampled_from("PQRS"), texts),
    unique_by=lambda each: each["name"],
    min_size=1,
    max_size=4,
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abcde")},
        optional={"image": texts, "env": environments, "args": st.lists(texts, min_size=1, max_size=3)},
    ),
    unique_by=lambda each: each["name"],
    min_size=1,
    max_size=5,
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "containers": containers,
        "nodeName": texts,
        "nodeSelector": st.dictionaries(texts, texts, min_size=1, max_size=3),
        "securityContext": st.fixed_dictionaries(
            {}, optional={"runAsUser": st.integers(0, 3), "fsGroup": st.integers(0, 3)}
        ),
    },
)
metas = st.fixed_dictionaries(
    {}, optional={"finalizers": st.lists(st.sampled_from("abcde"), unique=True, min_size=1, max_size=5), "name": texts}
)


def diff(first, second, node):
    """What kubectl sends to make ``second`` of ``first`` (CreateTwoWayMergePatch, with element orders)."""
    patch = {}
    for key in first.keys() | second.keys():
        if key not in second:
            patch[key] = None
            continue
        new = second[key]
        if key not in first:
            patch[key] = new
            continue
        old, field = first[key], node.fields[key] if node.kind == "object" else node.items
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            patch[key] = diff(old, new, field)
        elif isinstance(old, list) and isinstance(new, list) and "merge" in field.patch_strategy:
            if field.patch_merge_key:
                diff_maps(patch, key, old, new, field)
            else:
                gone = [value for value in old if value not in new]
                if gone:
                    patch[f"$deleteFromPrimitiveList/{key}"] = gone
                added = [value for value in new if value not in old]
                if added:
                    patch[key] = added
                patch[f"$setElementOrder/{key}"] = new
        else:
            patch[key] = new
    return patch


def diff_maps(patch, key, old, new, field):
    merge_key = field.patch_merge_key
    before = {each[merge_key]: each for each in old}
    after = {each[merge_key]: each for each in new}
    changes = []
    for each in new:
        if each[merge_key] not in before:
            changes.append(each)
        elif before[each[merge_key]] != each:
            changes.append({merge_key: each[merge_key], **diff(before[each[merge_key]], each, field.items)})
    changes += [{"$patch": "delete", merge_key: each[merge_key]} for each in old if each[merge_key] not in after]
    if changes:
        patch[key] = changes
    patch[f"$setElementOrder/{key}"] = [{merge_key: each[merge_key]} for each in new]


@pytest.mark.parametrize(("node", "made"), [(POD, specs), (META, metas)], ids=["spec", "metadata"])
def test_a_difference_applied_to_the_first_gives_the_second(node, made):
    @given(made, made)
    def holds(first, second):
        patch = diff(first, second, node)
        before = copy.deepcopy((first, patch))
        assert apply_strategic_merge_patch(first, patch, node) == second
        assert (first, patch) == before

    holds()


def slow_list(live, patch, order, key):
    """One merging list of maps without deeper lists, read off upstream's rules as literally as Python allows."""
    kept = list(live)
    plain = []
    for element in patch:
        if element.get("$patch") == "delete":
            kept = [each for each in kept if each[key] != element[key]]
        elif "$patch" not in element:
            plain.append(element)
    if any(element.get("$patch") == "replace" for element in patch):
        kept = []
    merged = list(kept)
    for element in plain:
        at = next((index for index, each in enumerate(merged) if each[key] == element[key]), None)
        if at is None:
            merged.append(element)
        else:
            merged[at] = {**merged[at], **element}
    merged = normalize(merged, plain, kept, key)
    return merged if order is None else normalize(merged, order, live, key)


def normalize(merged, order, before, key):
    def index(elements, element):
        return next((place for place, each in enumerate(elements) if each[key] == element[key]), -1)

    def ordered(elements, by):
        def compare(left, right):
            first, second = index(by, left), index(by, right)
            return first - second if first >= 0 and second >= 0 else 0

        return sorted(elements, key=functools.cmp_to_key(compare))

    left = ordered([each for each in merged if index(order, each) < 0], before)
    right = ordered([each for each in merged if index(order, each) >= 0], order)
    result = []
    while left and right:
        first, second = index(before, left[0]), index(before, right[0])
        result.append(left.pop(0) if 0 <= first < second else right.pop(0))
    return result + left + right


names = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)


@st.composite
def list_patches(draw):
    live = [{"name": each, "image": "live"} for each in draw(names)]
    changed = draw(names)
    directives = st.sampled_from([None, None, None, "delete"])
    patch = []
    for each in changed:
        directive = draw(directives)
        patch.append({"name": each, "$patch": directive} if directive else {"name": each, "image": "patch"})
    if patch and draw(st.integers(0, 5)) == 0:
        patch.insert(draw(st.integers(0, len(patch))), {"$patch": "replace"})
    order = None
    if draw(st.booleans()):
        # As kubectl makes it: everything that the patch adds or changes, in the patch's order, and more between.
        order = [each for each in changed if {"name": each, "$patch": "delete"} not in patch]
        for each in draw(names):
            if each not in order:
                order.insert(draw(st.integers(0, len(order))), each)
        order = [{"name": each} for each in order]
    return live, patch, order


@given(list_patches())
def test_lists_are_merged_as_the_slow_twin_does(made):
    live, patch, order = made
    assume(live)
    assume(order is None or order)
    assume(patch or order)
    whole = {"containers": patch} if patch else {}
    if order is not None:
        whole["$setElementOrder/containers"] = order
    merged = apply_strategic_merge_patch({"containers": live}, whole, POD)
    assert merged["containers"] == slow_list(live, patch, order, "name")


@given(
    specs,
    st.dictionaries(
        st.sampled_from(["containers", "nodeName", "$patch", "$retainKeys", "$setElementOrder/containers", "x"]), values
    ),
)
def test_nonsense_is_refused_or_applied_but_never_a_bug(obj, patch):
    before = copy.deepcopy((obj, patch))
    try:
        apply_strategic_merge_patch(obj, patch, POD)
    except ApiError as error:
        assert error.code in (400, 422, 500)
    assert (obj, patch) == before

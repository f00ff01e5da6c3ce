"""What is public: ``__all__``, the reference pages, ``dir()`` and ``__module__`` say the same."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
import typing
from pathlib import Path
from types import ModuleType

import pytest

import hisock
import hisock.metrics

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    f"hisock.{module.name}"
    for module in pkgutil.iter_modules(hisock.__path__)
    if not module.name.startswith("_") and not module.ispkg
)
SERVER = """authenticate authorize_change backlog call call_blocking clients close closed
    disconnect_all_clients disconnect_client every get_addr get_all_clients get_cache
    get_client get_group get_room include join_room leave_room middleware on recv rooms
    run run_workers send_all_clients send_client send_group send_many send_room serve session start
    stats wait_for addr addrs cache cache_size cluster local funcs header_len sock socket"""
CLIENT = """batch call change_group change_name close closed connected fileno get_cache get_client
    get_client_addr get_server_addr include middleware on recv run send send_many start stream
    unhandled update addr cache cache_size funcs group header_len name original_group
    original_name sock token"""
ASYNC_CLIENT = """batch call change_group change_name close closed connected drain get_cache
    get_client get_client_addr get_server_addr include middleware on recv send send_many stream
    unhandled wait_closed addr cache cache_size error_handler funcs group header_len name
    original_group original_name token"""
CLIENT_INFO = "addr as_dict client_dict group ip ip_as_str ipstr name node shown"
#: What a user may use of each class. A new public method is to be added here on purpose.
SHOWN = {
    hisock.HiSockServer: SERVER,
    hisock.ThreadedHiSockServer: f"{SERVER} join",
    hisock.HiSockClient: CLIENT,
    hisock.ThreadedHiSockClient: f"{CLIENT} join",
    hisock.AsyncHiSockClient: ASYNC_CLIENT,
    hisock.ClientInfo: CLIENT_INFO,
}


def named(module: str) -> list[str]:
    return list(getattr(importlib.import_module(module), "__all__", ()))


def documented() -> set[str]:
    """The full names that the reference describes."""
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    text = "\n".join(page.read_text("utf-8") for page in pages)
    found = re.findall(r"^\.\. (?:auto|py:)(\w+):: (\S+)$", text, re.MULTILINE)
    names = {name for kind, name in found if kind != "module"}
    modules = [name for kind, name in found if kind == "module"]
    return names | {f"{module}.{name}" for module in modules for name in named(module)}


def homes(full: str) -> set[str]:
    """All public paths of what a full name means."""
    module, _, name = full.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    return {
        f"{other}.{name}"
        for other in ["hisock", *MODULES]
        if getattr(importlib.import_module(other), name, None) is thing
    }


def test_a_public_module_says_what_is_public_in_it() -> None:
    assert [module for module in MODULES if not named(module)] == []


def test_every_public_module_is_there_without_an_import_of_its_own() -> None:
    code = f"import hisock; print([{', '.join(MODULES)}])"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, timeout=60)


@pytest.mark.parametrize("module", ["hisock", *MODULES])
def test_what_a_module_names_as_public_is_there_and_in_the_reference(module: str) -> None:
    described = documented()
    for name in named(module):
        value = getattr(importlib.import_module(module), name)
        if not isinstance(value, ModuleType) and not name.startswith("__"):
            assert homes(f"{module}.{name}") & described, name


def test_the_reference_describes_only_what_is_public() -> None:
    for full in documented():
        module, _, name = full.rpartition(".")
        assert module in ("hisock", *MODULES), full
        assert name in named(module), full


def test_dir_shows_what_a_user_may_use_and_nothing_else() -> None:
    shown = {name for name in dir(hisock) if not name.startswith("__")}
    assert shown == {name for name in hisock.__all__ if not name.startswith("__")}
    # Imported by their own names when needed.
    optional = {"hisock.asgi", "hisock.metrics", "hisock.otel", "hisock.testing"}
    modules = {f"hisock.{name}" for name in shown if isinstance(getattr(hisock, name), ModuleType)}
    assert modules | optional == set(MODULES) | optional


@pytest.mark.parametrize("made", SHOWN, ids=lambda made: made.__name__)
def test_a_class_shows_what_a_user_may_use_and_nothing_else(made: type) -> None:
    shown = {name for name in dir(made) if not name.startswith("_")}
    assert shown - set(SHOWN[made].split()) == set()
    if made not in (hisock.HiSockServer, hisock.ThreadedHiSockServer):
        assert set(SHOWN[made].split()) - shown == set()
    silent = [
        name
        for name in shown
        if callable(getattr(made, name)) and not inspect.getdoc(getattr(made, name))
    ]
    assert silent == []


def test_a_server_has_no_more_attributes_than_its_class_says() -> None:
    with hisock.HiSockServer(("127.0.0.1", 0)) as server:
        shown = {name for name in vars(server) if not name.startswith("_")}
    assert shown <= set(SERVER.split())


def public_classes() -> list[tuple[str, type]]:
    return [
        (module, value)
        for module in ("hisock", "hisock.routing", "hisock.testing")
        for name in named(module)
        if issubclass(type(value := getattr(importlib.import_module(module), name)), type)
    ]


@pytest.mark.parametrize(
    ("module", "public"), public_classes(), ids=lambda value: getattr(value, "__name__", "in")
)
def test_a_class_is_called_by_the_name_that_programs_import(module: str, public: type) -> None:
    assert public.__module__ == module
    assert pickle.loads(pickle.dumps(public)) is public
    assert typing.get_type_hints(public).keys() >= public.__annotations__.keys()
    assert [hint for hint in public.__annotations__.values() if isinstance(hint, str)] == []


@pytest.mark.parametrize(("module", "public"), public_classes())
def test_the_annotations_of_methods_can_be_evaluated(module: str, public: type) -> None:
    found = [inspect.getattr_static(public, name) for name in dir(public)]
    functions = [each.fget if isinstance(each, property) else each for each in found]
    for function in filter(inspect.isfunction, functions):
        if function.__module__.startswith("hisock"):
            typing.get_type_hints(function)


@pytest.mark.parametrize(
    ("method", "parameter"),
    [("send_client", "client"), ("send_group", "group"), ("send_room", "exclude")],
)
def test_methods_that_are_compiled_have_the_types_of_those_that_are_not(
    method: str, parameter: str
) -> None:
    function = getattr(hisock.HiSockServer, method)
    hint = inspect.signature(function).parameters[parameter].annotation
    assert hint == typing.get_type_hints(function)[parameter]
    assert hisock.ClientInfo in typing.get_args(hint)


def test_a_function_is_called_by_the_name_that_programs_import() -> None:
    functions = [
        value
        for value in (getattr(hisock, name) for name in hisock.__all__)
        if inspect.isfunction(value)
    ]
    assert {function.__module__ for function in functions} == {"hisock"}


def test_a_client_info_is_pickled_by_its_public_name() -> None:
    info = hisock.ClientInfo(("127.0.0.1", 5000), "Ada", "red")
    assert pickle.loads(pickle.dumps(info)) == info
    assert b"_core" not in pickle.dumps(info)


@pytest.mark.parametrize("module", ["hisock.client", "hisock.server"])
def test_a_star_import_gives_what_it_gave_to_programs_for_2_0_2(module: str) -> None:
    names: dict[str, object] = {}
    exec(f"from {module} import *", names)
    assert {*hisock.utils.__all__, "ClientInfo", "make_header"} <= names.keys()

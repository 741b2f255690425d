"""Which pattern answers: the grammar, precedence, methods and paths that are refused."""

import pytest

from pipebus.errors import RegistrationError
from pipebus.http.routes import BadPath, Match, MethodNotAllowed, NotFound, Routes


def table(*patterns: str) -> Routes[str]:
    routes: Routes[str] = Routes()
    for pattern in patterns:
        routes.add(pattern, pattern)
    return routes


def found(routes: Routes[str], method: str, path: str) -> tuple[str, dict[str, str]]:
    match = routes.match(method, path)
    assert isinstance(match, Match), match
    return match.value, dict(match.params)


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    [
        ("GET /", "/", {}),
        ("GET /", "/any/where", {}),
        ("GET /{$}", "/", {}),
        ("GET /health", "/health", {}),
        ("GET /{name}", "/x", {"name": "x"}),
        ("GET /a/{x}/b/{y}", "/a/1/b/2", {"x": "1", "y": "2"}),
        ("GET /f/{rest...}", "/f/a/b", {"rest": "a/b"}),
        ("GET /f/{rest...}", "/f/", {"rest": ""}),
        ("GET /f/{rest...}", "/f//a/", {"rest": "/a/"}),
        ("GET /f/{id}/{rest...}", "/f/1/a/b", {"id": "1", "rest": "a/b"}),
        ("GET /tree/", "/tree/a/b/", {}),
        ("GET /tree/{$}", "/tree/", {}),
        ("GET /{name}", "/a%2Fb", {"name": "a/b"}),
        ("GET /{name}", "/a%2fb", {"name": "a/b"}),
        ("GET /{a}/{b}", "/x%2Fy/z", {"a": "x/y", "b": "z"}),
        ("GET /f/{rest...}", "/f/a%2Fb/c", {"rest": "a/b/c"}),
        ("GET /{name}", "/%C3%A9", {"name": "é"}),
        ("GET /{name}", "/%2541", {"name": "%41"}),
        ("GET /{name}", "/...", {"name": "..."}),
        ("GET /{name}", "/.well-known", {"name": ".well-known"}),
        ("GET /{name}", "/a.", {"name": "a."}),
        ("GET /{name}", "/%20", {"name": " "}),
        ("GET /café", "/caf%C3%A9", {}),
        ("GET /a%2Fb", "/a%2Fb", {}),
        ("GET /a%2Fb", "/a%2fb", {}),
        ("GET /health", "/%68ealth", {}),
        ("OPTIONS *", "*", {}),
    ],
)
def test_pattern_matches(pattern: str, path: str, params: dict[str, str]) -> None:
    routes = table(pattern)
    assert found(routes, pattern.split(" ")[0], path) == (pattern, params)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/{$}", "/x"),
        ("/health", "/health/"),
        ("/health", "//health"),
        ("/health", "/Health"),
        ("/{name}", "/"),
        ("/{name}", "/a/b"),
        ("/{name}", "/a/"),
        ("/a/{x}/b", "/a//b"),
        ("/f/{rest...}", "/f"),
        ("/f/{id}/{rest...}", "/f//x"),
        ("/tree/", "/tree"),
        ("/tree/{$}", "/tree/x"),
        ("/tree/{$}", "/tree"),
        ("/a%2Fb", "/a/b"),
        ("/a/b", "/a%2Fb"),
        ("/{rest...}", "*"),
        ("/{rest...}", "host:80"),
        ("/{rest...}", ""),
    ],
)
def test_pattern_does_not_match(pattern: str, path: str) -> None:
    assert isinstance(table(pattern).match("OPTIONS", path), NotFound)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/.", "dot segment"),
        ("/a/..", "dot segment"),
        ("/a/../b", "dot segment"),
        ("/%2e", "dot segment"),
        ("/a/%2E%2e/b", "dot segment"),
        ("/a/.%2e/b", "dot segment"),
        ("/a/x%2F..%2Fy", "dot segment"),
        ("/a/..%2Fy", "dot segment"),
        ("/%", "percent sign"),
        ("/a%2", "percent sign"),
        ("/a%zzb", "percent sign"),
        ("/a/%u0041", "percent sign"),
        ("/%ff", "UTF-8"),
        ("/%C3", "UTF-8"),
        ("/%C0%AF", "UTF-8"),
        ("/%ED%A0%80", "UTF-8"),
        ("/a%00b", "NUL"),
    ],
)
def test_path_that_no_route_may_see(path: str, why: str) -> None:
    answer = table("/{rest...}").match("GET", path)
    assert isinstance(answer, BadPath)
    assert why in answer.detail


@pytest.mark.parametrize(
    ("winner", "loser", "path"),
    [
        ("/a", "/{x}", "/a"),
        ("/a/{$}", "/a/", "/a/"),
        ("/a/{x}", "/{rest...}", "/a/b"),
        ("/a/{x}", "/a/{rest...}", "/a/b"),
        ("/a/b/", "/a/", "/a/b/c"),
        ("/{x}/b", "/{x}/{y}", "/a/b"),
        ("GET /a", "/a", "/a"),
        ("GET /a", "/{x}", "/a"),
        ("GET /{x}", "/{rest...}", "/a"),
        ("GET /{x}/{$}", "GET /{x}/", "/a/"),
    ],
)
def test_more_specific_pattern_wins_in_either_order(winner: str, loser: str, path: str) -> None:
    for order in ([winner, loser], [loser, winner]):
        assert found(table(*order), "GET", path)[0] == winner


def test_falls_back_to_a_wider_pattern_when_the_narrower_leads_nowhere() -> None:
    routes = table("/a/b/c", "/a/{x}/d", "/a/", "/{x}", "/{rest...}")
    assert found(routes, "GET", "/a/b/c")[0] == "/a/b/c"
    assert found(routes, "GET", "/a/b/d")[0] == "/a/{x}/d"
    assert found(routes, "GET", "/a/b/x")[0] == "/a/"
    assert found(routes, "GET", "/z")[0] == "/{x}"
    assert found(routes, "GET", "/z/b/x") == ("/{rest...}", {"rest": "z/b/x"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a", "/a"),
        ("/{x}", "/{y}"),
        ("/a/", "/a/{rest...}"),
        ("GET /a", "GET /a"),
        ("/a%2Fb", "/a%2fb"),
        ("/%61", "/a"),
        ("OPTIONS *", "OPTIONS *"),
        ("/{x}/b", "/a/{y}"),
        ("/a/{x}/c", "/a/b/"),
        ("GET /{x}", "/a"),
        ("GET /{rest...}", "/a/b"),
        ("HEAD /{x}", "GET /a"),
        ("GET /a", "HEAD /{x}"),
        ("/{x}/c/", "/a/{y}/c"),
    ],
)
def test_conflicting_patterns_are_refused_naming_both(one: str, other: str) -> None:
    routes = table(one)
    with pytest.raises(RegistrationError) as caught:
        routes.add(other, other)
    assert repr(one) in str(caught.value)
    assert repr(other) in str(caught.value)
    assert len(routes) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /{x}", "POST /a"),
        ("GET /a", "/{x}"),
        ("HEAD /a", "GET /{x}"),
        ("GET /{x}", "HEAD /a"),
        ("/a", "/a/"),
        ("/{x}/b", "/a/{y}/c"),
        ("/{x}/", "/"),
        ("/{x}", "/{$}"),
        ("/{$}", "/{x}"),
        ("OPTIONS *", "OPTIONS /"),
        ("OPTIONS /", "OPTIONS *"),
        ("/a/b", "/{x}"),
        ("/{x}/", "/a"),
        ("/{x}/{rest...}", "/a/{rest...}"),
    ],
)
def test_patterns_that_do_not_conflict(one: str, other: str) -> None:
    assert len(table(one, other)) == 2


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "slash"),
        ("GET", "slash"),
        ("GET ", "slash"),
        ("example.com/x", "host patterns"),
        ("GET example.com/x", "host patterns"),
        ("get /x", "no method"),
        ("GE(T /x", "no method"),
        (" /x", "no method"),
        ("GET  /x", "slash"),
        ("GET /x y", "cannot be in a path"),
        ("/x?y", "cannot be in a path"),
        ("/x#y", "cannot be in a path"),
        ("/x\n", "cannot be in a path"),
        ("*", "OPTIONS only"),
        ("GET *", "OPTIONS only"),
        ("/a//b", "empty segment"),
        ("//", "empty segment"),
        ("/a/../b", "dot segment"),
        ("/.", "dot segment"),
        ("/%2e%2e", "dot segment"),
        ("/%zz", "percent sign"),
        ("/%ff", "UTF-8"),
        ("/%00", "NUL"),
        ("/{$}/a", "at the end"),
        ("/{rest...}/a", "at the end"),
        ("/{rest...}/", "at the end"),
        ("/{}", "neither a literal"),
        ("/{...}", "neither a literal"),
        ("/{a b}", "no method"),
        ("/{a-b}", "neither a literal"),
        ("/{1}", "neither a literal"),
        ("/a{b}", "neither a literal"),
        ("/{a}b", "neither a literal"),
        ("/{a}{b}", "neither a literal"),
        ("/{a", "neither a literal"),
        ("/a}", "neither a literal"),
        ("/{x}/{x}", "used twice"),
        ("/{x}/{x...}", "used twice"),
    ],
)
def test_bad_pattern_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(RegistrationError, match="route pattern") as caught:
        table(pattern)
    assert why in str(caught.value)
    assert repr(pattern) in str(caught.value)


def test_get_answers_head_unless_head_has_a_route() -> None:
    routes = table("GET /{x}", "HEAD /b")
    assert found(routes, "HEAD", "/a")[0] == "GET /{x}"
    assert found(routes, "HEAD", "/b")[0] == "HEAD /b"
    assert found(routes, "GET", "/b")[0] == "GET /{x}"


def test_pattern_without_method_answers_every_one() -> None:
    routes = table("/c", "GET /a")
    for method in ("GET", "HEAD", "OPTIONS", "BREW"):
        assert found(routes, method, "/c")[0] == "/c"


def test_head_without_any_get() -> None:
    assert isinstance(table("POST /a").match("HEAD", "/a"), MethodNotAllowed)
    assert isinstance(Routes[str]().match("HEAD", "/a"), NotFound)


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "BREW", "get"])
def test_other_method_is_told_what_is_allowed(method: str) -> None:
    routes = table("GET /a", "POST /{x}", "PUT /b", "PATCH /a/b")
    answer = routes.match(method, "/a")
    assert isinstance(answer, MethodNotAllowed)
    assert answer.allow == ("GET", "HEAD", "POST")


def test_allow_without_get() -> None:
    answer = table("PUT /a", "HEAD /a").match("GET", "/a")
    assert isinstance(answer, MethodNotAllowed)
    assert answer.allow == ("HEAD", "PUT")


def test_options_can_be_declared() -> None:
    routes = table("GET /a", "OPTIONS /", "OPTIONS *")
    assert found(routes, "OPTIONS", "/a")[0] == "OPTIONS /"
    assert found(routes, "OPTIONS", "*")[0] == "OPTIONS *"


def test_template_is_the_pattern_without_its_method() -> None:
    match = table("POST /api/{name}").match("POST", "/api/x")
    assert isinstance(match, Match)
    assert match.template == "/api/{name}"


def test_literal_match_costs_no_object() -> None:
    routes = table("GET /health")
    assert routes.match("GET", "/health") is routes.match("HEAD", "/%68ealth")


def test_len_counts_patterns() -> None:
    assert len(Routes[str]()) == 0
    assert len(table("GET /a", "POST /a", "/")) == 3

"""Test a pipeline without sockets, without an event loop, and without waiting.

Copy it out of the clone, whose settings pytest would take, and run it by
`pytest test_without_sockets.py`. `Simulation` steps the handlers itself, in virtual time: a timeout
of 30 seconds takes no time and always comes at its moment. When a test ends it drains the server
and fails if anything is left behind.
"""

from typing import Final

import pytest

from pipebus import Context, Event, HTTPError, Limits, Pipeline, Request, Response
from pipebus.testing import Faults, Simulation

# --- what is tested: a checkout that asks a bank ---------------------------------------------

BANK: Final = "http://bank.example/charge"


def new_shop() -> Pipeline[None]:
    shop = Pipeline("shop")

    @shop.route("POST /checkout")
    async def checkout(request: Request, ctx: Context) -> Response:
        answer = await ctx.client.post(BANK, json={"amount": request.json(int)})
        if answer.status != 200:
            raise HTTPError(402, "the bank says no")
        await ctx.publish("orders.paid", answer.json())
        return Response.json(answer.json(), 201)

    return shop


def new_bank(seconds: float = 0.2, status: int = 200) -> Pipeline[None]:
    bank = Pipeline("bank")

    @bank.route("POST /charge")
    async def charge(request: Request, ctx: Context) -> Response:
        await ctx.sleep(seconds)
        return Response.json(request.json(), status)

    return bank


# --- the tests -------------------------------------------------------------------------------


def test_a_purchase() -> None:
    with Simulation(new_shop()) as app:
        app.serve(new_bank(), "bank.example")
        answer = app.post("/checkout", b"30")
        assert (answer.status, answer.json()) == (201, {"amount": 30})
        # Every event is kept, and says which request it belongs to.
        (paid,) = app.of("orders.paid")
        (request,) = app.of("net.http.request")
        assert paid.data == {"amount": 30}
        assert paid.correlation_id == request.id


@pytest.mark.parametrize(("status", "answer"), [(200, 201), (402, 402), (500, 402)])
def test_a_stand_in_for_the_network(status: int, answer: int) -> None:
    shop = new_shop()

    # Whoever answers this topic answers outgoing calls: no upstream is needed.
    @shop.respond("net.http.client.request")
    def bank(event: Event) -> Response:
        assert event.data.url == BANK
        return Response.json({"amount": 30}, status)

    with Simulation(shop) as app:
        assert app.post("/checkout", b"30").status == answer


def test_a_bank_that_is_down() -> None:
    with Simulation(new_shop()) as app:  # nobody listens at bank.example
        assert app.post("/checkout", b"30").status == 502
        assert app.of("orders.paid") == []


def test_thirty_seconds_pass_in_no_time() -> None:
    with Simulation(new_shop()) as app:
        app.serve(new_bank(seconds=60), "bank.example")
        call = app.start("POST", "/checkout", body=b"30")
        app.advance(29.9)
        assert not call.done
        app.advance(0.1)
        assert call.response.status == 504


def test_a_client_that_goes_away() -> None:
    with Simulation(new_shop()) as app:
        app.serve(new_bank(), "bank.example")
        call = app.start("POST", "/checkout", body=b"30")
        call.cancel()  # its connection is reset: the handler is cancelled at once
        app.advance(1)
        assert app.of("orders.paid") == []
        (error,) = app.of("net.http.error")
        assert error.data.reason == "disconnect"


def test_one_at_a_time_and_nobody_waits() -> None:
    with Simulation(new_shop(), limits=Limits(max_in_flight=1)) as app:
        app.serve(new_bank(), "bank.example")
        first = app.start("POST", "/checkout", body=b"1")
        second = app.start("POST", "/checkout", body=b"2")
        assert second.response.status == 503
        assert second.response.headers["retry-after"] == "1"
        app.advance(1)
        assert first.response.status == 201


@pytest.mark.parametrize("seed", range(20))
def test_a_network_that_cuts_everything_in_pieces(seed: int) -> None:
    faults = Faults(seed, split=0.5, delay=0.5)
    with Simulation(new_shop(), faults=faults) as app:
        app.serve(new_bank(), "bank.example")
        assert app.post("/checkout", b"30").json() == {"amount": 30}
    assert faults.hits["split"] > 0

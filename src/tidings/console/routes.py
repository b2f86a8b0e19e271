"""All that the console serves."""

from starlette.routing import Route

from tidings.console import pages
from tidings.console.session import Services, Session

SESSION = f"{pages.PATH}/session"


def routes(services: Services) -> list[Route]:
    session = Session(services)
    return [
        Route(SESSION, session.answer, methods=["GET", "POST", "DELETE"]),
        *pages.routes(session.refuse_token),
    ]

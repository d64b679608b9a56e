"""A page in a browser that notes what it says and asks for."""

WAIT_MS = 120_000


def open_watched(browser, file, ready, *, script="", is_ready=True, **options):
    """Open a file; wait for the selector `ready` if it is to become ready."""
    context = browser.new_context(reduced_motion="reduce", **options)
    context.set_default_timeout(WAIT_MS)
    if script:
        context.add_init_script(script)
    page = context.new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url.split(",")[0]))
    page.goto(file.as_uri())
    if is_ready:
        page.wait_for_selector(ready, state="attached")
    return page

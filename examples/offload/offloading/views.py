"""Each view awaits what a worker does. Meanwhile the web worker's event loop is free to answer others."""

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from delayserver import offload

from .tasks import count_words, one_a_line

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
FOREIGN_CSP = "default-src 'none'; sandbox"  # what others send us to show is no page of ours


def index(request):
    page = render(request, "offloading/index.html", {"slow": settings.SLOW})
    page["Content-Security-Policy"] = CSP
    return page


async def proxy(request):
    """Another server's answer, as ours. Which servers may be asked, the settings say, and not the visitor."""
    answer = await offload.response(request, request.GET.get("url", ""))
    answer["Content-Security-Policy"] = FOREIGN_CSP
    return answer


async def count(request):
    try:
        reply = await offload.call("offloading.tasks.count_words", request.GET.get("text", ""))
    except offload.OffloadFailed as error:
        return failed(error)
    return JsonResponse({"answer": f"{reply.result} words"})


async def sort(request):
    try:
        reply = await offload.command("sort", input=one_a_line(request.GET.get("text", "")))
    except offload.OffloadFailed as error:
        return failed(error)
    return JsonResponse({"answer": reply.stdout.decode().replace("\n", " ")})


async def count_here(request):
    """The mistake that offload is against: until this is done, nobody else is answered."""
    return JsonResponse({"answer": f"{count_words(request.GET.get('text', ''))} words"})


async def ping(request):
    return HttpResponse(status=204)


def failed(error):
    status = 504 if isinstance(error, offload.OffloadTimeout) else 502
    return JsonResponse({"error": str(error)}, status=status)

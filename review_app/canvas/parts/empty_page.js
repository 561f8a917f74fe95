// A page that came empty is drawn again. A message of a canvas that overtakes the change of the page makes the browser
// clear it: the server answers such a message for the page that the canvas was on, and has nothing to show there.

const EMPTY_CHECK_MS = 300;
const EMPTY_AGAIN_MS = 3000;
const emptyPage = { send: null, since: 0, asked: 0, timer: 0 };

function watchForAnEmptyPage(send) {
  emptyPage.send = send;
  emptyPage.timer ||= setInterval(lookForAnEmptyPage, EMPTY_CHECK_MS);
}

function lookForAnEmptyPage() {
  const app = document.querySelector('[data-testid="stApp"]');
  const around = ".st-key-memory, .st-key-look, .st-key-account";
  const drawn = [...document.querySelectorAll('[data-testid="stMain"] [data-testid="stElementContainer"]')];
  const idle = app?.dataset.testScriptState === "notRunning" && app.dataset.testConnectionState === "CONNECTED";
  const now = Date.now();
  if (!idle || drawn.some((node) => !node.closest(around))) { emptyPage.since = 0; return; }
  emptyPage.since ||= now;
  if (now - emptyPage.since < EMPTY_CHECK_MS || now - emptyPage.asked < EMPTY_AGAIN_MS) return;
  emptyPage.asked = now;
  emptyPage.send({ kind: "draw" });
}

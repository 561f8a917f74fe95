// What Streamlit calls: once when the component is mounted and again with every message from the server.

const shells = new WeakMap();

export default function tailsight({ data, parentElement, setTriggerValue }) {
  if (!(data instanceof Uint8Array)) return undefined;
  const header = readFrame(data);
  if (header.mode === "memory") {
    remember(header.cookies);
    watchForAnEmptyPage((message) => setTriggerValue("message", message));
    return undefined;
  }
  const send = (message) => setTriggerValue("message", message);
  let shell = shells.get(parentElement);
  const identity = [header.who, header.language, header.mode, header.desk].join("/");
  if (shell && shell.identity !== identity) {
    if (shell.who !== header.who) pictures.forget(); // the next person has no business with them
    shell.close();
    shell = null;
  }
  if (!shell) {
    shell = new Shell(parentElement, header, send);
    shell.identity = identity;
    shells.set(parentElement, shell);
  }
  shell.connect(send);
  shell.update(header);
  return () => { shells.get(parentElement)?.close(); shells.delete(parentElement); };
}

// Who is at this browser, so that a restarted server knows them again; gone when the browser closes or they sign out.
function remember(cookies) {
  for (const [name, value] of Object.entries(cookies)) {
    if (name === "tailsight_person" && value === null) pictures.forget(); // who signs out leaves nothing behind
    document.cookie = `${name}=${encodeURIComponent(value ?? "")}; path=/; SameSite=Strict${value === null ? "; max-age=0" : ""}`;
  }
}

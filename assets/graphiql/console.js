// The console page: GraphiQL on this server's own /graphql, with the API key kept at hand.
//
// Promises: the key lives in this tab's session storage and in the Authorization header, nowhere else. It is taken from the
// address bar's fragment (`/console#key=...`, which browsers never send) once, and removed from there.
// Leaves to others: what a key may do (the server answers 401 or 403, this page explains), and the bundle that gives
// `GraphiQLBundle` (scripts/vendor-graphiql.sh).
"use strict";

(() => {
  const { createElement, createRoot, GraphiQL } = window.GraphiQLBundle;

  const ENDPOINT = "/graphql";
  const KEY_SLOT = "tributary.console.key";

  const FIRST_LOOK = `# Customers, and what each did last.
# Run it: the triangle, or Ctrl-Enter.
# Ctrl-Space suggests what fits here.
# The book on the left explains it all.

query FirstLook {
  customers(first: 5) {
    nodes {
      id
      displayName
      email
      timeline(first: 5) {
        nodes {
          __typename
          occurredAt
          ... on Event {
            name
            channel
          }
          ... on Purchase {
            orderId
            amount {
              decimal
              currency
            }
          }
        }
      }
    }
  }
}
`;

  const MISSING_KEY = "Enter an API key to read the schema and run queries.";
  const UNKNOWN_KEY = "The server does not accept this API key. Is it complete, and still valid?";
  const FORBIDDEN = "This API key is not allowed to do that.";
  const UNUSABLE_KEY = "An API key has no spaces, line breaks or accented letters. Was something else pasted?";
  const NO_ANSWER = "The server does not answer. Is it running?";

  const bar = document.querySelector(".bar");
  const form = document.getElementById("key-form");
  const field = document.getElementById("key-field");
  const forget = document.getElementById("key-forget");
  const message = document.getElementById("key-message");
  const root = createRoot(document.getElementById("graphiql"));

  let currentKey = "";
  // A failed introspection is left in the answer pane by GraphiQL even after a good key; it is wiped once the schema is there.
  let schemaFailureShown = false;

  function say(text) {
    message.textContent = text;
    bar.classList.toggle("bar-problem", text !== "" && text !== MISSING_KEY); // having no key yet is no problem
  }

  // Read by hand: URLSearchParams would turn a `+` in the key into a space.
  function takeKeyFromAddress() {
    const parts = location.hash.slice(1).split("&");
    const given = parts.find((part) => part.startsWith("key="));
    if (given === undefined) return null;

    const rest = parts.filter((part) => part !== given).join("&");
    history.replaceState(history.state, "", location.pathname + location.search + (rest && `#${rest}`));
    try {
      return decodeURIComponent(given.slice("key=".length));
    } catch {
      return given.slice("key=".length); // a stray percent sign: then it was not encoded
    }
  }

  // Session storage is refused in some privacy modes. The key then lasts until the page is left, which is what was asked for.
  function remember(key) {
    try {
      if (key) sessionStorage.setItem(KEY_SLOT, key);
      else sessionStorage.removeItem(KEY_SLOT);
    } catch {
      console.warn("session storage is not available: the key is forgotten on reload");
    }
  }

  function recall() {
    try {
      return sessionStorage.getItem(KEY_SLOT) ?? "";
    } catch {
      return "";
    }
  }

  function applyKey(typed) {
    currentKey = typed.trim();
    field.value = currentKey;
    forget.hidden = currentKey === "";
    say("");
    remember(currentKey);
    render(currentKey);
  }

  // A header takes no other characters, and `fetch` would fail with an error nobody understands.
  const fitsInHeader = (key) => /^[\x21-\x7e]*$/.test(key);

  function explainRefusal(status, key, answer) {
    if (key === "") return MISSING_KEY;
    if (status === 401) return UNKNOWN_KEY;
    const reason = answer?.errors?.[0]?.message ?? answer?.message;
    return typeof reason === "string" ? `${FORBIDDEN} ${reason}` : FORBIDDEN;
  }

  // GraphiQL shows what a fetcher throws in the answer pane, with a stack when it is an Error. Nobody wants the stack.
  const failure = (text, details) => ({ message: text, ...details });

  async function parse(response) {
    try {
      return await response.json();
    } catch {
      return null;
    }
  }

  function fetcherFor(key) {
    return async (params) => {
      const isIntrospection = params.operationName === "IntrospectionQuery";
      const tell = (text) => {
        if (key !== currentKey) return; // an answer to a key that is no longer in use
        say(text);
        if (isIntrospection && text !== "") schemaFailureShown = true;
      };

      if (!fitsInHeader(key)) {
        tell(UNUSABLE_KEY);
        throw failure(UNUSABLE_KEY);
      }

      let response;
      try {
        response = await fetch(ENDPOINT, {
          method: "POST",
          headers: {
            Accept: "application/graphql-response+json, application/json;q=0.9",
            "Content-Type": "application/json",
            ...(key && { Authorization: `Bearer ${key}` }),
          },
          body: JSON.stringify(params),
          cache: "no-store",
        });
      } catch (error) {
        tell(NO_ANSWER);
        throw failure(NO_ANSWER, { reason: String(error) });
      }

      const answer = await parse(response);
      if (response.status === 401 || response.status === 403) {
        const text = explainRefusal(response.status, key, answer);
        tell(text);
        throw failure(text, { status: response.status });
      }
      tell("");
      if (answer === null) {
        if (isIntrospection) schemaFailureShown = true;
        throw failure(`The server answered with status ${response.status} and no JSON.`);
      }
      return answer;
    };
  }

  function wipeSchemaFailure() {
    if (!schemaFailureShown) return;
    schemaFailureShown = false;
    document.querySelector(".result-window .CodeMirror")?.CodeMirror.setValue("");
  }

  // A new fetcher is GraphiQL's sign to read the schema again; tabs and their text stay.
  function render(key) {
    root.render(
      createElement(
        GraphiQL,
        {
          fetcher: fetcherFor(key),
          defaultQuery: FIRST_LOOK,
          onSchemaChange: wipeSchemaFailure,
          inputValueDeprecation: true,
          schemaDescription: true,
          // One place for the key: a second one would end up in local storage with the tabs.
          isHeadersEditorEnabled: false,
          shouldPersistHeaders: false,
        },
        createElement(GraphiQL.Logo, null, "GraphiQL"),
      ),
    );
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    applyKey(field.value);
  });
  forget.addEventListener("click", () => {
    applyKey("");
    field.focus();
  });
  // A printed link opened while the console is already open changes the fragment only; the page is not loaded again.
  window.addEventListener("hashchange", () => {
    const key = takeKeyFromAddress();
    if (key !== null) applyKey(key);
  });

  applyKey(takeKeyFromAddress() ?? recall());
  if (currentKey === "") field.focus();
})();

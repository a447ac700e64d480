// Shows signed-in visitors what the company knows of them. The token comes from the company's own back end; what it reaches is `me`.
import { MeDocument, type MeQuery } from "./generated.js";

type Session = { url: string; token: string };
type Answer = { data?: MeQuery | null; errors?: { message: string }[] };

const element = (id: string): HTMLElement => document.getElementById(id) ?? document.body;

async function me({ url, token }: Session): Promise<MeQuery["me"]> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ query: MeDocument }),
  });
  const answer: Answer = await response.json();
  if (answer.errors?.[0]) throw new Error(answer.errors[0].message);
  return answer.data?.me ?? null;
}

function show(customer: NonNullable<MeQuery["me"]>): void {
  element("greeting").textContent = `Hello, ${customer.displayName ?? "you"}`;
  element("email").textContent = customer.email ?? "";
  const lines = customer.purchases.nodes.map(({ orderId, amount }) => {
    const line = document.createElement("li");
    line.textContent = amount ? `${orderId}: ${amount.decimal} ${amount.currency}` : orderId;
    return line;
  });
  element("purchases").replaceChildren(...lines);
}

try {
  const session = await fetch("/session", { method: "POST" });
  if (!session.ok) throw new Error("sign in first");
  const customer = await me(await session.json());
  if (customer) show(customer);
  else element("greeting").textContent = "Hello. We know nothing of you yet.";
} catch (problem) {
  element("greeting").textContent = "Hello";
  element("problem").textContent = `Your data cannot be shown: ${String(problem)}`;
}

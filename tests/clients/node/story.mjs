// The little story that every client tells: one person buys something. The ids begin with the client's name, so that a test
// finds each client's person, order and company again. The Python clients tell the same one (../python/story.py).

// The messages by call, in the order of telling. Page and screen know the device only: the server has to find the person
// through the identify that came before them.
export function story(client) {
  const userId = `${client}-user`;
  const anonymousId = `${client}-anonymous`;
  return {
    identify: {
      userId,
      anonymousId,
      traits: {
        email: `${client}@example.test`,
        firstName: "Ada",
        address: { street: "1 Example Street", city: "Exampleton", postalCode: "EX1 1AA", country: "GB" },
      },
    },
    track: {
      userId,
      event: "Order Completed",
      timestamp: new Date("2026-01-02T03:04:05.678Z"),
      properties: {
        order_id: `${client}-order`,
        revenue: 45,
        total: 52.5,
        currency: "EUR",
        products: [{ product_id: "p-1", price: 45, quantity: 1 }],
      },
    },
    page: { anonymousId, category: "Docs", name: "Home", properties: { url: "http://shop.example.test/docs" } },
    screen: { anonymousId, category: "Shop", name: "Orders", properties: { filter: "open" } },
    group: { userId, groupId: `${client}-company`, traits: { name: "Example Ltd", plan: "team" } },
    alias: { userId, previousId: `${client}-earlier` },
  };
}

// The server to tell it to.
export function server() {
  const { TRIBUTARY_HOST: host, TRIBUTARY_WRITE_KEY: writeKey } = process.env;
  if (!host || !writeKey) throw new Error("TRIBUTARY_HOST and TRIBUTARY_WRITE_KEY must be set");
  return { host, writeKey };
}

// Prints the line that the tests read and ends the process: the libraries leave timers behind that would hold it open.
export function report(client, { expected, delivered, failures }) {
  const missing = delivered === expected ? [] : [`${delivered} of ${expected} calls were reported as delivered`];
  const all = [...failures, ...missing];
  process.stdout.write(`${JSON.stringify({ client, sent: delivered, failures: all })}\n`, () => {
    process.exit(all.length === 0 ? 0 : 1);
  });
}

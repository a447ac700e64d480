// What console.js needs of the bundle; esbuild puts it on the page as `window.GraphiQLBundle`.
export { createElement } from "react";
export { createRoot } from "react-dom/client";
export { GraphiQL } from "graphiql";

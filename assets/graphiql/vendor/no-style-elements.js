// Stands in for react-style-singleton, which puts a <style> element into the page while a dialog is open, to stop the page
// behind it from scrolling. The console never scrolls, and without that element the page works under `style-src 'self'`.
const nothing = () => {};

export const styleSingleton = () => () => null;
export const styleHookSingleton = () => nothing;
export const stylesheetSingleton = () => ({ add: nothing, remove: nothing });

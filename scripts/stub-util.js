export const promisify = (callbackForm) => callbackForm;

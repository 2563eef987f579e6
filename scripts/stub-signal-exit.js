export const onExit = () => () => {};

/** The part of write-file-atomic 6 that is used here, after its README and lib/index.js. */
declare module 'write-file-atomic' {
  interface Options {
    mode: number;
    chown: { uid: number; gid: number };
    fsync: boolean;
    /** Runs when the temporary file is there and still empty; what it throws ends the write. */
    tmpfileCreated: (temporary: string) => void;
  }

  /** The asynchronous form costs a run 3 % more CPU time, for threads that have nothing to wait for. */
  const writeFileAtomic: { sync(filename: string, data: string, options: Options): void };
  export default writeFileAtomic;
}

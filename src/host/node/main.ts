import { main } from '../../cli.ts';
import { host } from '../node.ts';

// Everything has been written synchronously. Exiting now skips Node.js's own shutdown, 3 % of a run.
main(host).then((status) => process.exit(status));

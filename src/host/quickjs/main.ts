import { main } from '../../cli.ts';
import { host } from '../quickjs.ts';
import './std.ts';

declare global {
  /** Only quickjs-ng has one. */
  var navigator: { readonly userAgent: string } | undefined;
}

// Its modules differ in small ways, such as the unit of os.now().
if (globalThis.navigator?.userAgent.startsWith('quickjs-ng')) {
  host.write(
    2,
    "error: qjs is quickjs-ng, which is not supported; install Debian's package quickjs instead\n",
  );
  std.exit(1);
}
// Ignored signals are inherited. If this one is ignored, the kernel keeps no exit status of a command.
os.signal(os.SIGCHLD, null);
main(host).then((status) => std.exit(status));

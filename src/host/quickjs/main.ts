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
main(host).then((status) => std.exit(status));

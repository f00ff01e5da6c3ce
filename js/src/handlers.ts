/** The handlers of a client, by command. */

export type Handle = (value: any, command: any) => unknown;
type Handler = [handle: Handle, as: unknown, once: unknown];
/** How the value for a handler is made, of what it was registered with. */
type Read = (as: unknown) => unknown;

/** What a client tells of itself; no command of a server reaches its handlers. */
export const EVENTS = /^((client_|force_)?disconnect|(client_|re)connect|\*)$/;

/** @param report is told what handlers throw */
export function handlerTable(report: (error: unknown, command: string) => void) {
  const all = new Map<string, Handler[]>();
  const of = (command: string): Handler[] => all.get(command) ?? [];

  function remove(command: string, handle?: unknown): void {
    const left = of(command).filter((each) => handle && each[0] != handle);
    all.delete(command);
    if (left.length) all.set(command, left);
  }

  function add(command: string, ...added: Handler): () => void {
    all.set(command, [...of(command), added]);
    return () => remove(command, added[0]);
  }

  /** Calls the handlers; gives what the first gives. */
  function run(command: string, read: Read, second: unknown): Promise<unknown> | undefined {
    const results = of(command).map(async ([handle, as, once]) => {
      if (once) remove(command, handle);
      return handle(read(as), second);
    });
    for (const result of results) result.catch((error) => report(error, command));
    return results[0];
  }

  return [all, add, remove, run] as const;
}

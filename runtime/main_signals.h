/* What every tool does when a signal ends it. For mains only. */
#ifndef BITNET_MAIN_SIGNALS_H
#define BITNET_MAIN_SIGNALS_H

/* `name` begins the message. SIGINT, SIGTERM, SIGHUP: unfinished outputs are removed, then the
 * signal does what it always does (a tool that stops in its own way installs its own handlers).
 * SIGBUS, which is a mapped file that became shorter: they are removed, the file is named, exit
 * code 7. A limit on the size of files becomes an error of write(). A signal that whoever started
 * us ignores stays so. */
void main_handle_endings(const char *name);

#endif

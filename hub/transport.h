/* HTTP requests, many at once, in one thread. No redirect is followed and nothing is retried here:
 * both depend on who is asked for what. */
#ifndef BITNET_HUB_TRANSPORT_H
#define BITNET_HUB_TRANSPORT_H

#include <bitnet/error.h>

#include "reply.h"

enum hub_outcome {
    HUB_CALL_COMPLETE, /* a whole answer, whatever its status */
    HUB_CALL_BROKEN,   /* connection, name or time-out trouble: may work next time */
    HUB_CALL_STOPPED,  /* a callback said so */
    HUB_CALL_REFUSED   /* will not work next time either (certificate, proxy log-in, bad head) */
};

/* One request. The caller fills the first part, keeps the struct where it is until on_done was
 * called, and may then use it again. */
struct hub_call {
    const char *url;
    const char *token; /* NULL, or sent as a bearer token: only ever for the token's own origin */
    const char *range; /* NULL, or "100-199" */
    const char *if_range; /* NULL, or a strong entity tag with its quotes */
    uint64_t first_byte_ms, stall_ms;
    uint64_t bytes_per_second; /* 0: no limit */
    bool share;  /* with other requests one HTTP/2 connection, where the server offers it */
    bool fresh;  /* on a connection of its own: the one before may be dead */
    bool decode; /* the body may come compressed and is unpacked; else it is taken as it is sent */
    bool (*on_head)(struct hub_call *call);
    bool (*on_body)(struct hub_call *call, const uint8_t *bytes, size_t n);
    void (*on_done)(struct hub_call *call);
    void *user;

    struct hub_reply reply;
    enum hub_outcome outcome;
    char fault[320]; /* BROKEN, REFUSED: what happened, one line, host named */

    struct hub_line *line; /* private to transport.c */
};

struct hub_transport;
struct hub_transport_options {
    const char *user_agent, *ca_file, *ca_dir, *proxy;
    uint64_t connect_ms;
    unsigned connections_max;
};

/* MEMORY, INTERNAL. */
enum bitnet_status hub_transport_new(struct hub_transport **transport,
                                     const struct hub_transport_options *options,
                                     struct bitnet_error *err);
/* Stops what is under way. NULL is fine. */
void hub_transport_free(struct hub_transport *transport);

/* False: no memory. Not to be called from on_head or on_body. */
bool hub_call_start(struct hub_transport *transport, struct hub_call *call);
/* Gives up a request; on_done is not called. Fine when it is not under way. */
void hub_call_stop(struct hub_transport *transport, struct hub_call *call);
/* Moves all requests on, waits at most this long for something to happen, and calls on_done for
 * what is finished. */
void hub_transport_step(struct hub_transport *transport, unsigned wait_ms);
/* Ends the wait of a running hub_transport_step(); from any thread. */
void hub_transport_wake(struct hub_transport *transport);
uint64_t hub_transport_requests(const struct hub_transport *transport);
/* "libcurl/7.88.1" */
const char *hub_transport_version(void);

/* Milliseconds of a clock that never goes back. */
uint64_t hub_now_ms(void);

/* Patience is measured in time during which somebody looked: a process that was stopped (Ctrl-Z),
 * or that a busy machine left waiting, has not seen its peers do nothing. Time since the last look
 * counts only up to a quarter of a second. */
struct hub_patience {
    uint64_t looked_ms; /* of hub_now_ms() */
    uint64_t ms;
};
void hub_patience_look(struct hub_patience *patience, uint64_t now_ms);
/* Of this transport, as of its last step: what stalls and trickles are measured by. */
uint64_t hub_transport_patience_ms(const struct hub_transport *transport);

#endif

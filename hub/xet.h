/* A file fetched as pieces of xorbs, over the Xet protocol, instead of as ranges of one object. */
#ifndef BITNET_HUB_XET_H
#define BITNET_HUB_XET_H

#include "transfer.h"

/* This file can come over Xet, and may: it is stored there, nothing forbids it, and it was not
 * tried in vain before. */
bool hub_xet_may(const struct hub_download *download, const struct hub_transfer *transfer);
/* Fetches what is missing of a transfer that wants_xet and has no slices; other transfers go on
 * meanwhile. Then all bytes are there, or the transfer goes on over HTTP, or the download failed.
 */
void hub_xet_fetch(struct hub_download *download, struct hub_transfer *transfer);

#endif

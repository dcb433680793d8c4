/* What a name from outside must look like before it becomes part of a path or a URL. */
#ifndef BITNET_HUB_NAMES_H
#define BITNET_HUB_NAMES_H

#include <bitnet/hub.h>

/* 40 lower-case hexadecimal digits. */
bool hub_is_commit(struct bitnet_str text);
/* 40 (git blob) or 64 (SHA-256) lower-case hexadecimal digits. */
bool hub_is_etag(struct bitnet_str text);
/* "name" or "namespace/name" as the Hub has them. */
bool hub_is_repo_id(struct bitnet_str text);
bool hub_is_revision(struct bitnet_str text);
/* The path of a file in a repository: NULL when it may be used, else what is wrong with it. */
const char *hub_path_fault(struct bitnet_str path);

/* Bytes that both names share at the beginning and at the end: enough to offer the likely one. */
size_t hub_likeness(struct bitnet_str a, struct bitnet_str b);

/* "models", "datasets", ... */
const char *hub_type_plural(enum bitnet_hub_type type);

/* The folder of a repository in the cache ("models--org--name") into `out`, and back. */
#define HUB_FOLDER_MAX 256
bool hub_folder_name(enum bitnet_hub_type type, const char *repo, char out[HUB_FOLDER_MAX]);
bool hub_folder_parse(struct bitnet_str folder, enum bitnet_hub_type *type,
                      char repo[BITNET_HUB_REPO_MAX + 1]);

#endif

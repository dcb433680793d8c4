/* The report of bitnet convert and bitnet quantize, on standard output. For their mains only. */
#ifndef CONVERT_MAIN_REPORT_H
#define CONVERT_MAIN_REPORT_H

#include "main_common.h"

/* `path` is what was written, or would be (--dry-run). */
void main_print_text(const struct bitnet_plan *plan, const char *path,
                     const struct main_arguments *a);
/* The exit code: 0, or that of MEMORY. */
int main_print_json(const struct bitnet_plan *plan, const char *path,
                    const struct main_arguments *a);

#endif

/* Errors as values: fills the record that travels up to the program. Formats into a buffer of its
 * own first, so a caller may pass the old text of the same record as an argument; text that is too
 * long loses its end, never half a UTF-8 character. The list of codes is BITNET_STATUS_LIST. */
#include "bitnet/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bitnet/text.h"

static const struct status_row {
    int exit_code;
    const char *name, *text;
} rows[] = {
#define X(name, exit_code, text) {exit_code, #name, text},
    BITNET_STATUS_LIST(X)
#undef X
};

static const struct status_row *row_of(enum bitnet_status status)
{
    size_t row = (size_t)status;
    return row < sizeof rows / sizeof rows[0] ? &rows[row] : &rows[BITNET_INTERNAL];
}

const char *bitnet_status_name(enum bitnet_status status)
{
    return row_of(status)->name;
}

const char *bitnet_status_text(enum bitnet_status status)
{
    return row_of(status)->text;
}

int bitnet_status_exit_code(enum bitnet_status status)
{
    return row_of(status)->exit_code;
}

/* Ends `text` before a character that the end of the buffer has cut. */
static void trim_cut_character(char *text)
{
    size_t n = strlen(text);
    text[n - bitnet_utf8_incomplete_tail((struct bitnet_str){text, n})] = '\0';
}

static void format_into(char *out, size_t n_out, const char *format, va_list args)
{
    char text[sizeof((struct bitnet_error *)0)->text];
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = '\0';
    size_t n = strlen(text);
    if (n > n_out - 1) n = n_out - 1;
    memcpy(out, text, n);
    out[n] = '\0';
    trim_cut_character(out);
}

enum bitnet_status bitnet_fail(struct bitnet_error *err, enum bitnet_status status,
                               const char *format, ...)
{
    if (!err) return status;
    va_list args;
    va_start(args, format);
    format_into(err->text, sizeof err->text, format, args);
    va_end(args);
    err->status = status;
    err->hint[0] = '\0';
    return status;
}

enum bitnet_status bitnet_hint(struct bitnet_error *err, enum bitnet_status status,
                               const char *format, ...)
{
    if (!err) return status;
    va_list args;
    va_start(args, format);
    format_into(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return err->status;
}

enum bitnet_status bitnet_error_prefix(struct bitnet_error *err, enum bitnet_status status,
                                       const char *format, ...)
{
    if (!err) return status;
    char prefix[sizeof err->text];
    va_list args;
    va_start(args, format);
    format_into(prefix, sizeof prefix, format, args);
    va_end(args);

    char text[2 * sizeof err->text + 4];
    snprintf(text, sizeof text, "%s: %s", prefix, err->text);
    size_t n = strlen(text);
    if (n > sizeof err->text - 1) n = sizeof err->text - 1;
    memcpy(err->text, text, n);
    err->text[n] = '\0';
    trim_cut_character(err->text);
    return err->status;
}

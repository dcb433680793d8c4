/* What a file is when it is not what it should be: the well-known accidents, told from the first
 * bytes, before anybody says "bad magic". Called by a reader that has already seen that this is not
 * its format, so GGUF and safetensors here mean "the other one". */
#include "bitnet/file.h"

static const char fetch_again[] = "the download probably failed, fetch it again";

struct accident {
    const char *begins; /* compared without regard to case, after white space when `text` */
    size_t n;
    bool text;
    const char *what, *hint;
};

#define MAGIC(literal) (literal), sizeof(literal) - 1
/* clang-format off */
static const struct accident accidents[] = {
    {MAGIC("version https://git-lfs.github.com/spec/"), true, "this is a Git LFS pointer, not the file it stands for", "run `git lfs pull`, or download the file itself"},
    {MAGIC("<!doctype"),      true,  "this is a web page, not a model", fetch_again},
    {MAGIC("<html"),          true,  "this is a web page, not a model", fetch_again},
    {MAGIC("<head"),          true,  "this is a web page, not a model", fetch_again},
    {MAGIC("<body"),          true,  "this is a web page, not a model", fetch_again},
    {MAGIC("<!--"),           true,  "this is a web page, not a model", fetch_again},
    {MAGIC("<?xml"),          true,  "this is an XML document, not a model", fetch_again},
    {MAGIC("<error"),         true,  "this is an XML document, not a model", fetch_again},
    {MAGIC("entry not found"),      true, "this is a server's error message, not a model", fetch_again},
    {MAGIC("not found"),            true, "this is a server's error message, not a model", fetch_again},
    {MAGIC("repository not found"), true, "this is a server's error message, not a model", fetch_again},
    {MAGIC("invalid credentials"),  true, "this is a server's error message, not a model", fetch_again},
    {MAGIC("invalid username"),     true, "this is a server's error message, not a model", fetch_again},
    {MAGIC("access to model"),      true, "this is a server's error message, not a model", "ask for access to the model, log in, and fetch it again"},
    {MAGIC("GGUF"),           false, "this is a GGUF file", "give it to a tool that reads GGUF"},
    {MAGIC("FUGG"),           false, "this is a byte-swapped (big-endian) GGUF file", "make it again on a little-endian machine"},
    {MAGIC("lmgg"),           false, "this is a GGML file, the format before GGUF", "convert the original model again"},
    {MAGIC("fmgg"),           false, "this is a GGMF file, a format before GGUF", "convert the original model again"},
    {MAGIC("tjgg"),           false, "this is a GGJT file, a format before GGUF", "convert the original model again"},
    {MAGIC("PK\x03\x04"),     false, "this is a ZIP archive", "a PyTorch checkpoint is one; ask for the safetensors version of the model"},
    {MAGIC("PK\x05\x06"),     false, "this is an empty ZIP archive", fetch_again},
    {MAGIC("\x1f\x8b"),       false, "this is a gzip archive", "unpack it first"},
    {MAGIC("\x28\xb5\x2f\xfd"), false, "this is a zstd archive", "unpack it first"},
    {MAGIC("7z\xbc\xaf\x27\x1c"), false, "this is a 7z archive", "unpack it first"},
    {MAGIC("\x89HDF\r\n"),    false, "this is an HDF5 file", "ask for the safetensors version of the model"},
    {MAGIC("%PDF-"),          false, "this is a PDF document, not a model", fetch_again},
};
/* clang-format on */

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool begins_with(struct bitnet_bytes head, const char *begin, size_t n, bool any_case)
{
    if (head.n < n) return false;
    if (!any_case) return memcmp(head.at, begin, n) == 0;
    for (size_t i = 0; i < n; i++)
        if (lower(head.at[i]) != lower((uint8_t)begin[i])) return false;
    return true;
}

/* Without a byte order mark and the white space that may stand before text. */
static struct bitnet_bytes skip_space(struct bitnet_bytes head)
{
    if (begins_with(head, "\xEF\xBB\xBF", 3, false))
        head = (struct bitnet_bytes){head.at + 3, head.n - 3};
    while (head.n && (head.at[0] == ' ' || (head.at[0] >= '\t' && head.at[0] <= '\r'))) {
        head.at++;
        head.n--;
    }
    return head;
}

static bool is_zeros(struct bitnet_bytes head)
{
    for (size_t i = 0; i < head.n; i++)
        if (head.at[i]) return false;
    return true;
}

/* {"error": ...: an object whose first key is one that only complaints begin with. */
static bool is_json_error(struct bitnet_bytes text)
{
    static const char *const keys[] = {"\"error\"", "\"errors\"", "\"message\"", "\"detail\"",
                                       "\"statuscode\""};
    if (text.n == 0 || text.at[0] != '{') return false;
    struct bitnet_bytes inside = skip_space((struct bitnet_bytes){text.at + 1, text.n - 1});
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (begins_with(inside, keys[i], strlen(keys[i]), true)) return true;
    return false;
}

/* An 8-byte length below 100 MB, then JSON. */
static bool is_safetensors(struct bitnet_bytes head)
{
    return head.n >= 9 && head.at[8] == '{' && bitnet_load_u64(head.at) <= 100000000;
}

/* Protocol 2 to 5, then an opcode that a checkpoint begins with. */
static bool is_pickle(struct bitnet_bytes head)
{
    return head.n >= 3 && head.at[0] == 0x80 && head.at[1] >= 2 && head.at[1] <= 5 &&
           memchr("}]c(\x8a\x95", head.at[2], 6) != NULL;
}

static bool is_tar(struct bitnet_bytes head)
{
    return head.n >= 262 && memcmp(head.at + 257, "ustar", 5) == 0;
}

static const char *say(const char **hint, const char *text, const char *what)
{
    if (hint) *hint = text;
    return what;
}

const char *bitnet_file_accident(struct bitnet_bytes head, const char **hint)
{
    struct bitnet_bytes text = skip_space(head);
    if (head.n == 0) return say(hint, "an interrupted download or copy", "file is empty");
    if (is_zeros(head)) return say(hint, "an interrupted download", "the file contains only zeros");
    for (size_t i = 0; i < sizeof accidents / sizeof accidents[0]; i++) {
        const struct accident *a = &accidents[i];
        if (begins_with(a->text ? text : head, a->begins, a->n, a->text))
            return say(hint, a->hint, a->what);
    }
    if (is_json_error(text))
        return say(hint, fetch_again, "this is a server's error message (JSON), not a model");
    if (is_safetensors(head))
        return say(hint, "give it to a tool that reads safetensors", "this is a safetensors file");
    if (is_pickle(head))
        return say(hint, "ask for the safetensors version of the model",
                   "this is a Python pickle, which can run code and is not read");
    if (is_tar(head)) return say(hint, "unpack it first", "this is a tar archive");
    return NULL;
}

/* Type numbers become types. Three families of programs number their own types independently, so a
 * number alone can lie: 39 is TL2 in bitnet.cpp and MXFP4 in ggml and ik_llama.cpp. (dtypes.def;
 * formats.md 1.2)
 *
 * All tensors of a model speak one dialect. A dialect that lacks one of the numbers is out. If
 * those that remain disagree about a tensor, the evidence is, in this order:
 *
 *   1. the room that the offsets leave: the type whose size fills it exactly, for every such tensor
 *   2. the type whose size at least fits into it
 *   3. general.file_type, and whether bitnet.cpp runs the architecture at all
 *
 * What is still open then is refused, naming both, and the user can say which. */
#include "bitnet/arch.h"

#include "reader.h"

#include <inttypes.h>

#define ALL_DIALECTS ((1u << BITNET_DIALECT_COUNT) - 1)

static const char *const dialect_names[BITNET_DIALECT_COUNT] = {"ggml", "bitnet.cpp", "ik"};

const char *bitnet_dialect_name(enum bitnet_dialect dialect)
{
    return (unsigned)dialect < BITNET_DIALECT_COUNT ? dialect_names[dialect] : "unknown";
}

bool bitnet_dialect_from_name(struct bitnet_str name, enum bitnet_dialect *dialect)
{
    if (bitnet_str_is(name, "llama.cpp")) name = BITNET_STR("ggml"); /* one numbering */
    for (unsigned d = 0; d < BITNET_DIALECT_COUNT; d++) {
        if (!bitnet_str_is(name, dialect_names[d])) continue;
        *dialect = (enum bitnet_dialect)d;
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------ who has the number */

static unsigned dialects_with(uint32_t number)
{
    unsigned set = 0;
    enum bitnet_dtype type;
    for (unsigned d = 0; d < BITNET_DIALECT_COUNT; d++)
        if (bitnet_dtype_from_number((enum bitnet_dialect)d, number, &type)) set |= 1u << d;
    return set;
}

/* The number is in the dialect. */
static enum bitnet_dtype type_in(unsigned dialect, uint32_t number)
{
    enum bitnet_dtype type = BITNET_DTYPE_f32;
    bitnet_dtype_from_number((enum bitnet_dialect)dialect, number, &type);
    return type;
}

static unsigned first_of(unsigned set)
{
    unsigned d = 0;
    while (!(set >> d & 1)) d++;
    return d;
}

/* Numbers that files are known to carry and that are no type of ours. */
static const struct {
    uint32_t number;
    const char *what;
} known_strangers[] = {
    {4, "Q4_2, removed from ggml in 2023"},
    {5, "Q4_3, removed from ggml in 2023"},
    {9, "Q8_1, an activation type"},
    {15, "Q8_K, an activation type"},
    {31, "Q4_0_4_4, retired: quantize to Q4_0 instead"},
    {32, "Q4_0_4_8, retired: quantize to Q4_0 instead"},
    {33, "Q4_0_8_8, retired: quantize to Q4_0 instead"},
    {37, "I8_S of bitnet.cpp, an activation type"},
};

static enum bitnet_status refuse_number(uint32_t number, struct bitnet_error *err)
{
    for (size_t i = 0; i < sizeof known_strangers / sizeof known_strangers[0]; i++)
        if (known_strangers[i].number == number)
            return bitnet_fail(err, BITNET_UNSUPPORTED, "type %" PRIu32 " (%s) is not supported",
                               number, known_strangers[i].what);
    return bitnet_fail(err, BITNET_UNSUPPORTED, "type %" PRIu32 " is not known", number);
}

/* Removes from *set the dialects that lack a number. */
static enum bitnet_status narrow_by_numbers(const struct bitnet_gguf *gguf, unsigned *set,
                                            struct bitnet_error *err)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct bitnet_tensor *tensor = &gguf->tensors[i];
        unsigned having = dialects_with(tensor->type_number), left = *set & having;
        enum bitnet_status status = BITNET_OK;
        if (!having)
            status = refuse_number(tensor->type_number, err);
        else if (!left && *set == (*set & (~*set + 1)))
            status = bitnet_fail(
                err, BITNET_UNSUPPORTED, "type %" PRIu32 " (%s) does not exist in the dialect %s",
                tensor->type_number,
                bitnet_dtype_info(type_in(first_of(having), tensor->type_number))->label,
                bitnet_dialect_name((enum bitnet_dialect)first_of(*set)));
        else if (!left)
            status = bitnet_fail(err, BITNET_UNSUPPORTED,
                                 "no dialect has type %" PRIu32
                                 " together with the types of the tensors before it",
                                 tensor->type_number);
        if (status)
            return bitnet_error_prefix(err, status, "tensor %s", BITNET_QUOTE(tensor->name));
        *set = left;
    }
    return BITNET_OK;
}

/* ------------------------------------------------------------------ what the number means */

/* The first tensor about which the dialects of the set disagree; NULL: none. */
static const struct bitnet_tensor *first_dispute(const struct bitnet_gguf *gguf, unsigned set)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        enum bitnet_dtype type = type_in(first_of(set), gguf->tensors[i].type_number);
        for (unsigned d = 0; d < BITNET_DIALECT_COUNT; d++)
            if (set >> d & 1 && type_in(d, gguf->tensors[i].type_number) != type)
                return &gguf->tensors[i];
    }
    return NULL;
}

struct fit {
    unsigned exact, loose; /* dialects under which the tensor fills its room, or fits into it */
};

static struct fit fit_of(const struct bitnet_tensor *tensor, uint64_t room, uint64_t alignment,
                         unsigned set)
{
    struct fit fit = {0};
    for (unsigned d = 0; d < BITNET_DIALECT_COUNT; d++) {
        uint64_t n_bytes;
        if (!(set >> d & 1) || bitnet_tensor_bytes(type_in(d, tensor->type_number), tensor->dims,
                                                   tensor->n_dims, &n_bytes, NULL))
            continue;
        if (n_bytes > room) continue;
        fit.loose |= 1u << d;
        if (room - n_bytes < alignment) fit.exact |= 1u << d;
    }
    return fit;
}

/* A tensor that fits nobody (a cut file) is no evidence; the layout check will name it. */
static enum bitnet_status narrow_by_room(const struct bitnet_gguf *gguf, unsigned *set,
                                         struct bitnet_error *err)
{
    size_t n = gguf->n_tensors;
    uint64_t *rooms = bitnet_alloc(n ? n : 1, sizeof *rooms);
    if (!rooms) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = gguf_measure_rooms(gguf, rooms, err);
    struct fit all = {*set, *set};
    for (size_t i = 0; i < n && !status; i++) {
        const struct bitnet_tensor *tensor = &gguf->tensors[i];
        struct fit fit = fit_of(tensor, rooms[i], gguf->parts[tensor->part].alignment, *set);
        if (!fit.loose) continue;
        all.exact &= fit.exact;
        all.loose &= fit.loose;
    }
    bitnet_free(rooms);
    if (status) return status;
    if (all.exact)
        *set = all.exact;
    else if (all.loose)
        *set = all.loose;
    return BITNET_OK;
}

/* True when general.file_type, read in this dialect, names the disputed type. */
static bool file_type_names(const struct bitnet_gguf *gguf, unsigned dialect,
                            const struct bitnet_tensor *tensor)
{
    const struct bitnet_gguf_value *value = gguf_part_find(&gguf->parts[0], "general.file_type");
    if (!value || value->type != BITNET_GGUF_U32) return false;
    int number = bitnet_dtype_info(type_in(dialect, tensor->type_number))->file_type[dialect];
    return number != BITNET_NO_NUMBER && (uint64_t)number == value->u64;
}

/* bitnet.cpp makes its own types only for the architectures that we have descriptors of. */
static bool architecture_is_known(const struct bitnet_gguf *gguf)
{
    const struct bitnet_gguf_value *value = gguf_part_find(&gguf->parts[0], "general.architecture");
    return value && value->type == BITNET_GGUF_STRING && bitnet_arch_by_name(value->text) != NULL;
}

static void narrow_by_metadata(const struct bitnet_gguf *gguf, unsigned *set,
                               const struct bitnet_tensor *dispute)
{
    if (!architecture_is_known(gguf)) {
        unsigned others = *set & ~(1u << BITNET_DIALECT_BITNETCPP);
        if (others) *set = others;
    }
    unsigned named = 0;
    for (unsigned d = 0; d < BITNET_DIALECT_COUNT; d++)
        if (*set >> d & 1 && file_type_names(gguf, d, dispute)) named |= 1u << d;
    if (named) *set = named;
}

static enum bitnet_status refuse_dispute(const struct bitnet_tensor *tensor, unsigned set,
                                         struct bitnet_error *err)
{
    unsigned a = first_of(set), b = a;
    enum bitnet_dtype type = type_in(a, tensor->type_number);
    while (type_in(b, tensor->type_number) == type) b = first_of(set & ~((2u << b) - 1));
    bitnet_fail(err, BITNET_UNSUPPORTED,
                "tensor %s: type %" PRIu32
                " is %s in %s and %s in %s, and nothing in the file says which is meant",
                BITNET_QUOTE(tensor->name), tensor->type_number, bitnet_dtype_info(type)->label,
                dialect_names[a], bitnet_dtype_info(type_in(b, tensor->type_number))->label,
                dialect_names[b]);
    return bitnet_hint(err, BITNET_UNSUPPORTED, "say whose file it is with --dialect %s or %s",
                       dialect_names[a], dialect_names[b]);
}

/* ------------------------------------------------------------------ who else says I2_S */

/* BitNet-rs calls two formats of its own I2_S, under the same number. Read as bitnet.cpp's they
 * would be noise, but their sizes give them away. (formats.md 2.6) */
static const struct {
    uint64_t bytes, weights; /* of a block */
    const char *what;
} private_i2_s[] = {
    {10, 32, "blocks of 32 weights with their own scale"},
    {64, 256, "codes without a scale"},
};

static bool fills(uint64_t n_bytes, uint64_t room, uint64_t alignment)
{
    return n_bytes <= room && room - n_bytes < alignment;
}

static enum bitnet_status refuse_private_i2_s(const struct bitnet_tensor *tensor, uint64_t room,
                                              uint64_t alignment, struct bitnet_error *err)
{
    uint64_t n_bytes, n = 1;
    if (bitnet_tensor_bytes(tensor->type, tensor->dims, tensor->n_dims, &n_bytes, err))
        return BITNET_OK; /* the layout check will say it */
    for (uint32_t i = 0; i < tensor->n_dims; i++) n *= tensor->dims[i];
    if (fills(n_bytes, room, alignment)) return BITNET_OK;
    for (size_t i = 0; i < sizeof private_i2_s / sizeof private_i2_s[0]; i++)
        if (n % private_i2_s[i].weights == 0 &&
            fills(n / private_i2_s[i].weights * private_i2_s[i].bytes, room, alignment))
            return bitnet_fail(
                err, BITNET_UNSUPPORTED,
                "tensor %s: I2_S as BitNet-rs means it (%s), which is another format",
                BITNET_QUOTE(tensor->name), private_i2_s[i].what);
    return BITNET_OK;
}

static enum bitnet_status check_i2_s(const struct bitnet_gguf *gguf, struct bitnet_error *err)
{
    size_t n = gguf->n_tensors, i = 0;
    while (i < n && gguf->tensors[i].type != BITNET_DTYPE_i2_s) i++;
    if (i == n) return BITNET_OK;
    uint64_t *rooms = bitnet_alloc(n, sizeof *rooms);
    if (!rooms) return bitnet_fail(err, BITNET_MEMORY, "out of memory");
    enum bitnet_status status = gguf_measure_rooms(gguf, rooms, err);
    for (; i < n && !status; i++)
        if (gguf->tensors[i].type == BITNET_DTYPE_i2_s)
            status = refuse_private_i2_s(&gguf->tensors[i], rooms[i],
                                         gguf->parts[gguf->tensors[i].part].alignment, err);
    bitnet_free(rooms);
    return status;
}

/* ------------------------------------------------------------------ the whole */

enum bitnet_status gguf_resolve_types(struct bitnet_gguf *gguf,
                                      const struct bitnet_gguf_options *options,
                                      struct bitnet_error *err)
{
    unsigned set = options->dialect_is_given ? 1u << options->dialect : ALL_DIALECTS;
    enum bitnet_status status = narrow_by_numbers(gguf, &set, err);
    if (status) return status;

    const struct bitnet_tensor *dispute = first_dispute(gguf, set);
    if (dispute) {
        status = narrow_by_room(gguf, &set, err);
        if (status) return status;
        dispute = first_dispute(gguf, set);
    }
    if (dispute) {
        narrow_by_metadata(gguf, &set, dispute);
        dispute = first_dispute(gguf, set);
    }
    if (dispute) return refuse_dispute(dispute, set, err);

    gguf->dialect = (enum bitnet_dialect)first_of(set);
    for (size_t i = 0; i < gguf->n_tensors; i++)
        gguf->tensors[i].type = type_in(gguf->dialect, gguf->tensors[i].type_number);
    return check_i2_s(gguf, err);
}

// The same header from C++: names have C linkage, so this links.
#include <bitnet/bitnet.h>

#include <string>

int main()
{
    const std::string text = "{\"a\": [1, 2]}";
    bitnet_arena arena = {};
    bitnet_error err = {};
    const bitnet_json *root = nullptr;
    if (bitnet_json_parse(&root, {text.data(), text.size()}, nullptr, &arena, &err)) return 1;
    const size_t n = bitnet_json_get(root, "a")->n_children;
    bitnet_arena_free(&arena);
    return n == 2 ? 0 : 1;
}

/* The list of tools: one row here, one main_<name>.c in the room whose work it shows. Each main
 * parses, calls the library, prints, and maps the status to the exit code. */
#ifndef BITNET_TOOLS_H
#define BITNET_TOOLS_H

#define BITNET_TOOL_LIST(TOOL)                                                                     \
    TOOL(hub, "fetch models, verified, and keep the cache in order")                               \
    TOOL(convert, "checkpoint -> GGUF, exact and checked against its source")                      \
    TOOL(quantize, "another type for the linear layers of a GGUF")                                 \
    TOOL(gguf, "show, dump and validate GGUF files")                                               \
    TOOL(tokenize, "text -> token ids and back")                                                   \
    TOOL(cli, "generate text")                                                                     \
    TOOL(perplexity, "perplexity of a text, with a pass/fail line for CI")                         \
    TOOL(embedding, "vectors of texts, for search and comparison")                                 \
    TOOL(bench, "tokens per second, and what this machine has")

#define TOOL(name, summary) int bitnet_##name##_main(int argc, char **argv);
BITNET_TOOL_LIST(TOOL)
#undef TOOL

#endif

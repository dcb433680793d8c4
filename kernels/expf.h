/* The numbers of bitnet_expf(), for the sets that compute it in lanes. See scalar/expf.c. */
#ifndef BITNET_KERNELS_EXPF_H
#define BITNET_KERNELS_EXPF_H

#define BITNET_EXP_MIN   (-87.3f) /* below: 0; the results stay normal numbers */
#define BITNET_EXP_MAX   88.7f    /* above: infinity */
#define BITNET_EXP_LOG2E 1.44269504089f
#define BITNET_EXP_SHIFT 12582912.0f /* 1.5 * 2^23 */
/* ln 2: the high part has 9 trailing zero bits, so n times it is exact for |n| <= 128. */
#define BITNET_EXP_LN2_HIGH 0.693145751953125f
#define BITNET_EXP_LN2_LOW  1.42860682030941723212e-6f
#define BITNET_EXP_C2       0.5f
#define BITNET_EXP_C3       1.66666671634e-1f /* 1/3! */
#define BITNET_EXP_C4       4.16666679084e-2f /* 1/4! */
#define BITNET_EXP_C5       8.33333376795e-3f /* 1/5! */
#define BITNET_EXP_C6       1.38888892252e-3f /* 1/6! */
#define BITNET_EXP_C7       1.98412701138e-4f /* 1/7! */

#endif

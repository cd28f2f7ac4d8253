/** Put in by build.mjs. */
declare const BUILT_REGISTER: string
declare const BUILT_BANNER: string

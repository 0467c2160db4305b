export declare const BLOCK_MS: number;
export declare const LEAK_BYTES: number;
export declare const FAULTS: string[];
export declare function strike(command: string): Promise<void>;

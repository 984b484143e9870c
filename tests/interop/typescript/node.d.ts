// The few things of node that client.ts uses. Declared here so that the compiler alone is enough: no @types/node.

interface Connection {
    on(event: "connect" | "end" | "timeout", listener: () => void): this;
    on(event: "data", listener: (text: string) => void): this;
    on(event: "error", listener: (error: Error) => void): this;
    write(text: string): boolean;
    destroy(): void;
    setEncoding(encoding: "utf8"): this;
    setNoDelay(noDelay: boolean): this;
}

declare module "net" {
    export function createConnection(options: { host: string; port: number }): Connection;
}

declare const process: { argv: string[]; env: { [name: string]: string | undefined }; exitCode: number };
declare const console: { log(text: string): void; error(text: string): void };
declare function setTimeout(callback: () => void, ms: number): object;
declare function clearTimeout(timer: object): void;

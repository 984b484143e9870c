//! What `--help` says behind the arguments and options: examples, and what they are made of. Lines of more than
//! 100 characters would be broken.

/// Of the program.
pub const EXAMPLES: &str = "\
Examples:
  client create-double prices 10000000      ten million random doubles, called `prices`
  client apply prices 'sqrt(x) * 2'         compute with every element; the array stays as it is
  client reduce prices 'mean(x), max(x)'    one value of all elements, or several
  client generate noise 'normal(0, 1, 1000)' have the workers make an array
  client explain prices 'sqrt(x) * 2'       what that would do and take, without doing it
  client get prices                         the newest result, shortened
  client get prices --out result.npy        all of it, into a file
  client get prices --array --range 0:10    the first ten elements of the array itself
  client create m matrix.npy                from a file: .npy, .csv, .json; or from standard input
  client apply m example1 --into n          keep the result under a name of its own
  client workers                            who is there, and who holds what
  client recovery                           what went wrong, and how it was mended
  client                                    a prompt that takes all these commands, one a line
  client localhost 5000                     the same, of the master at that address
  client < commands.txt                     the commands of a file; exits with their largest code
  client --level 1 get a --dtype int        at once on the level of the original system's masters
  client completions bash > ~/.local/share/bash-completion/completions/client
  client man | man -l -                     the manual; `client man DIR` writes a page for each

With --json every command prints one JSON object on standard output; an error is one JSON object on
standard error. NaN and infinities are written NaN, Infinity, -Infinity, as Python's json does.

Exit codes:
  0    done
  1    the cluster refused, or something here failed
  2    the command line is wrong
  3    no master could be reached
  4    the deadline passed (--timeout)
  5    data is lost: segments without any copy left
  130  interrupted (Ctrl-C)";

/// Of `apply`.
pub const APPLY_EXAMPLES: &str = "\
An expression is Python's, with NumPy's functions. x is an element of the array; other names are
arrays of as many elements, in backquotes where a name is not a word. Quote it for the shell.

Examples:
  client apply a 'sin(x) ** 2 + cos(x) ** 2'
  client apply a 'where(x > 0, log(x), 0)'    log is taken only where x > 0
  client apply a '(x - b) / `c-1`'            with arrays b and c-1
  client apply a '0 < x <= 10 and x != 5'     bools
  client apply a 'float32(x)' --into small    another dtype
  client apply a example1                     the original system's: example1, example2
  client apply a 'sqrt(x)' --verbose          also what it took of each worker

Operators: + - * / // % **, < <= > >= == !=, and or not, where(condition, a, b).
Functions: sin cos tan asin acos atan atan2 sinh cosh tanh exp log log2 log10 sqrt abs sign floor
ceil trunc round minimum maximum clip isnan isinf isfinite; a wrong name is answered with all.
Casts: bool int32 int64 float32 float64. Constants: pi inf nan True False.";

/// Of `reduce`.
pub const REDUCE_EXAMPLES: &str = "\
Reductions: sum prod min max argmin argmax mean var std count any all, each of an expression as
`apply` has them. The array is read once for all of them.

Examples:
  client reduce a 'sum(x)'
  client reduce a 'min(x), max(x), mean(x), std(x)'
  client reduce a 'sum(x * b)'                a dot product
  client reduce a 'count(x > 0), all(isfinite(x))'";

/// Of `generate`.
pub const GENERATE_EXAMPLES: &str = "\
Generators, as NumPy's functions; a shape is 1000 or (100, 100):
  zeros(shape)  ones(shape)  full(shape, value)
  arange([start,] stop[, step])  linspace(start, stop, num)
  random(shape)  uniform(low, high, shape)  normal(loc, scale, shape)  integers(low, high, shape)

Examples:
  client generate a 'normal(0, 1, 10000000)' --seed 7
  client generate a 'zeros((1000, 1000))' --dtype float32
  client generate a 'arange(0, 1, 0.001)' --replace";

/// Of `explain`.
pub const EXPLAIN_EXAMPLES: &str = "\
Examples:
  client explain a 'sin(x) * b'
  client explain a 'sum(x), max(x)'

The exit code is 0, or that of the refusal if it would be refused now.";

/// Of `bench`.
pub const BENCH_EXAMPLES: &str = "\
Workloads:
  create         store an array
  get            read one
  apply1         example1 on float64, until the result has all its copies
  apply2         example2 on int32
  apply1_get     apply1, then read the result
  latency        apply1 on 10,000 elements, 2,000 times
  memory         store and apply once; `memory_bytes` is what the workers then use
  generate       have the workers make float64, uniform in [0, 1)
  arange         have the workers make int64, 0, 1, 2, …
  sum            the sum of a float64 array
  reduce5_fused  sum, min, max, mean and std of one at once
  apply1_sum     the sum of example1 of one, which is not stored
  dot            the sum of the products of two
  expr           apply the expression of --expr

Times are milliseconds from the request to its reply. Every repetition has other values; what is
made is called bench-… and deleted again.

Examples:
  client bench --workload create,get,apply1
  client bench --workload latency --n 1000 --reps 500
  client bench --workload expr --expr 'exp(-x ** 2 / 2)'";

/// Of `completions`.
pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  client completions bash > ~/.local/share/bash-completion/completions/client
  client completions zsh > ~/.zfunc/_client       (with ~/.zfunc in $fpath)
  client completions fish > ~/.config/fish/completions/client.fish";

/// Of `man`.
pub const MAN_EXAMPLES: &str = "\
Examples:
  client man | man -l -
  client man ~/.local/share/man/man1; man client-create";

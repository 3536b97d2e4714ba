/** Fields of a form: label, input, help, and what is wrong with it. */

import { type InputHTMLAttributes, type ReactNode, useId } from "react";

interface FieldProps {
  label: string;
  help?: ReactNode;
  error?: string;
}

function Below({ id, help, error }: { id: string; help?: ReactNode; error?: string }) {
  if (!help && !error) return null;
  return (
    <span id={id} className="mt-0.5 block text-xs leading-4">
      {error && <span className="block font-medium text-bad">{error}</span>}
      {help && <span className="block text-muted">{help}</span>}
    </span>
  );
}

export function TextField({
  label,
  help,
  error,
  value,
  onText,
  className = "",
  ...rest
}: FieldProps & Omit<InputHTMLAttributes<HTMLInputElement>, "onChange"> & { value: string; onText: (text: string) => void }) {
  const id = useId();
  return (
    <div className="min-w-0">
      <label htmlFor={id} className="font-medium">
        {label}
      </label>
      <input
        id={id}
        autoComplete="off"
        value={value}
        aria-invalid={Boolean(error)}
        aria-describedby={help || error ? `${id}-below` : undefined}
        onChange={(event) => onText(event.target.value)}
        className={`mt-0.5 block min-h-8 w-full rounded border bg-surface px-2 read-only:bg-raised read-only:text-muted ${error ? "border-bad" : "border-edge"} ${className}`}
        {...rest}
      />
      <Below id={`${id}-below`} help={help} error={error} />
    </div>
  );
}

export function SelectField<Value extends string>({
  label,
  help,
  error,
  value,
  options,
  onValue,
}: FieldProps & { value: Value; options: readonly { id: Value; title: string }[]; onValue: (value: Value) => void }) {
  const id = useId();
  return (
    <div className="min-w-0">
      <label htmlFor={id} className="font-medium">
        {label}
      </label>
      <select
        id={id}
        value={value}
        aria-invalid={Boolean(error)}
        aria-describedby={help || error ? `${id}-below` : undefined}
        onChange={(event) => onValue(event.target.value as Value)}
        className={`mt-0.5 block min-h-8 w-full rounded border bg-surface px-2 ${error ? "border-bad" : "border-edge"}`}
      >
        {options.map((option) => (
          <option key={option.id} value={option.id}>
            {option.title}
          </option>
        ))}
      </select>
      <Below id={`${id}-below`} help={help} error={error} />
    </div>
  );
}

export function Fields({ children }: { children: ReactNode }) {
  return <div className="grid gap-x-4 gap-y-3 sm:grid-cols-2 lg:grid-cols-3">{children}</div>;
}

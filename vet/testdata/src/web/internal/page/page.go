// Package page is for package web alone.
package page

type Page struct{}
